"""Wrong inputs out of right ones: deterministic for a seed."""

from __future__ import annotations

import random
from collections.abc import Sequence

MOST_BYTES = 64 * 1024
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)


def varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


class Mutator:
    """Starts from a corpus; inputs that showed something new may be added to it."""

    def __init__(self, seed: int, corpus: Sequence[bytes]) -> None:
        self._random = random.Random(seed)
        self.corpus = list(corpus)

    def next(self) -> bytes:
        """Mostly a few small changes; sometimes noise, sometimes an input as it is (checksums around it change)."""
        source = self._random
        if source.random() < 0.02:
            return source.randbytes(source.choice((0, 1, 3, 40, 1_000)))
        data = bytearray(source.choice(self.corpus))
        for _ in range(source.choice((0, 1, 1, 1, 2, 3, 8))):
            data = self._changed(data)
        return bytes(data[:MOST_BYTES])

    def _changed(self, data: bytearray) -> bytearray:
        source = self._random
        at = source.randrange(len(data) + 1)
        end = min(len(data), at + source.choice((1, 2, 4, 8, 32, 200)))
        match source.randrange(9):
            case 0 if at < len(data):
                data[at] ^= 1 << source.randrange(8)
            case 1 if at < len(data):
                data[at] = source.choice((0, 1, 0x7F, 0x80, 0xFF, source.randrange(256)))
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = source.randbytes(end - at)
            case 4:
                data[at:at] = data[at:end] * source.choice((1, 2, 50))
            case 5:
                return data[:at]
            case 6:
                other = source.choice(self.corpus)
                begin = source.randrange(len(other) + 1)
                data[at:end] = other[begin : begin + source.choice((4, 32, 500))]
            case 7:
                number = source.choice(NUMBERS)
                data[at:end] = number.to_bytes(8, source.choice(("big", "little")))[-(end - at or 1) :]
            case _:
                data[at : at + 1] = varint(source.choice(NUMBERS))
        return data
