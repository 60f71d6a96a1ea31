"""Which version of the chain's rules is in force at which height: governance says so, ahead of time.

A header names the version that it was made under. Two releases of this program know one version in common, so that members
can install the newer one, node after node, before the height at which its rules begin.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgpack

from chain.block import PROTOCOL_VERSION

KNOWN = frozenset({PROTOCOL_VERSION})
"""What this program can carry out. A release that brings version N knows N - 1 as well."""


class UnknownProtocolError(Exception):
    """The chain goes on by rules that this program does not know; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """`version` holds until `next_version` does, from `next_height` on; 0: no change is decided."""

    version: int = PROTOCOL_VERSION
    next_version: int = PROTOCOL_VERSION
    next_height: int = 0

    def at(self, height: int) -> int:
        """The version that the header of `height` must name; `height` is not below the last change."""
        return self.next_version if 0 < self.next_height <= height else self.version

    def required(self, known: frozenset[int] = KNOWN) -> tuple[int, int] | None:
        """(version, height) from which on a program that knows only `known` cannot go on; None: nothing is ahead."""
        if self.version not in known:
            return self.version, 0
        ahead = self.next_height > 0 and self.next_version not in known
        return (self.next_version, self.next_height) if ahead else None


def encode_protocol(protocol: Protocol) -> bytes:
    packed: bytes = msgpack.packb([protocol.version, protocol.next_version, protocol.next_height])
    return packed


def decode_protocol(raw: bytes | None) -> Protocol:
    """A chain whose governance never changed it holds no record: it is at the first version."""
    return Protocol() if raw is None else Protocol(*msgpack.unpackb(raw))
