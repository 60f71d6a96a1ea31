"""Which keys of the state transactions will read: so that those of thousands are read at once, not one by one when each runs.

A guess, made of what a transaction of the same kind wrote in the last block that had one: what stood there under an account's
address, the next one will want for its own accounts. A wrong guess costs a read that nobody asked for, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from chain.executor import Kind
from chain.overlay import Writes
from chain.tx import Tx

ADDRESS_CHARS = 40
MOST_KINDS = 256
MOST_EXPECTED = 50_000  # keys, about; what else transactions read, they read when they run
MOST_KEYS = 8  # of a kind; a call that writes to more accounts says little about the next one
_SENDER = -1

Pattern = tuple[bytes, int]
"""What a key begins with, and where in the encoded arguments the address stands that it ends in; _SENDER: the sender's."""


class Foresight:
    """What is known of the functions that were called."""

    def __init__(self) -> None:
        self._patterns: dict[Kind, list[Pattern]] = {}

    def learn(self, examples: Mapping[Kind, tuple[Tx, Writes]]) -> None:
        """Of each kind a transaction that made just this call, and what it wrote."""
        for kind, (tx, writes) in examples.items():
            self._patterns.pop(kind, None)  # the newest stand last
            self._patterns[kind] = list(_patterns(tx, writes))
        while len(self._patterns) > MOST_KINDS:
            del self._patterns[next(iter(self._patterns))]

    def keys(self, txs: Iterable[Tx]) -> list[bytes]:
        """What these are expected to read, some of it perhaps more than once."""
        patterns = self._patterns
        expected: list[bytes] = []
        for tx in txs:
            if len(expected) >= MOST_EXPECTED:
                break
            for contract, function, args in tx.calls:
                for prefix, at in patterns.get((contract, function), ()):
                    expected.append(prefix + (tx.sender.encode() if at == _SENDER else args[at : at + ADDRESS_CHARS]))
        return expected


def _patterns(tx: Tx, writes: Writes) -> Iterable[Pattern]:
    sender, args = tx.sender.encode(), tx.calls[0].args
    for key in list(writes)[:MOST_KEYS]:
        prefix, address = key[:-ADDRESS_CHARS], key[-ADDRESS_CHARS:]
        if address == sender:
            yield prefix, _SENDER
        elif len(address) == ADDRESS_CHARS and address in args:
            yield prefix, args.index(address)
