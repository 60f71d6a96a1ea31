"""What `chain.statepages` does to one page or row after the other, done to all of a block's at once, as arrays of bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, chain, pairwise

import numpy as np
import numpy.typing as npt

from chain.hashes import HASH_BYTES
from chain.stateproof import PLACE_BYTES, RECORD_BYTES

_RECORD = np.dtype((np.void, RECORD_BYTES))
_NO_FIELD = bytes(RECORD_BYTES - PLACE_BYTES)


def with_fields(
    pages: Sequence[bytes], counts: Sequence[int], places: Sequence[bytes], fields: Sequence[bytes | None]
) -> tuple[list[bytes], list[int], list[int]]:
    """Pages with these fields set and records put in; which changes changed anything; and which pages have to be changed
    alone instead, since they lose a record, or a new place begins with the same eight bytes as one that is there.

    `places` are in order; the first `counts[0]` belong to the first page, and so on.
    """
    joined = bytearray().join([*pages, bytes(RECORD_BYTES)])  # one record more, so that there is one after every place
    records, sought = _table(joined, RECORD_BYTES), _table(b"".join(places), PLACE_BYTES)
    wanted = _table(b"".join([field or _NO_FIELD for field in fields]), RECORD_BYTES - PLACE_BYTES)
    removed = np.array([field is None for field in fields])
    heads, heads_sought = _heads(records), _heads(sought)
    at = np.searchsorted(heads[:-1], heads_sought)
    alike = (heads[at] == heads_sought) & (at < len(records) - 1)
    there = alike & (records[at, :PLACE_BYTES] == sought).all(axis=1)
    new = ~alike
    changes = new | there & (records[at, PLACE_BYTES:] != wanted).any(axis=1)
    in_place = changes & there
    records[at[in_place], PLACE_BYTES:] = wanted[in_place]
    entire = records.view(_RECORD).ravel()
    if new.any():
        entire = np.insert(entire, at[new], np.concatenate((sought, wanted), axis=1)[new].view(_RECORD).ravel())
    page_of = np.repeat(np.arange(len(pages)), counts)
    grown = np.bincount(page_of[new], minlength=len(pages)).tolist()
    ends = accumulate(len(page) + more * RECORD_BYTES for page, more in zip(pages, grown, strict=True))
    after = _cut(entire.tobytes(), ends)
    alone = np.unique(page_of[removed | alike & ~there])
    changed = np.flatnonzero(changes & ~np.isin(page_of, alone))
    return after, changed.tolist(), alone.tolist()


def with_hashes(
    rows: Sequence[bytes], parents: Sequence[int], slots: Sequence[int], hashes: Sequence[bytes]
) -> list[bytes]:
    """Rows with the hashes of children set: child `slots[n]` of row `parents[n]` has `hashes[n]`."""
    width = len(rows[0])
    joined = bytearray().join(rows)
    row = np.dtype([("hashes", np.uint8, (width // HASH_BYTES, HASH_BYTES)), ("numbers", np.void, width % HASH_BYTES)])
    np.frombuffer(joined, row)["hashes"][parents, slots] = _table(b"".join(hashes), HASH_BYTES)
    return _cut(bytes(joined), range(width, len(joined) + 1, width))


def _table(raw: bytes | bytearray, width: int) -> npt.NDArray[np.uint8]:
    return np.frombuffer(raw, np.uint8).reshape(-1, width)


def _heads(places: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """The first eight bytes of places or records, as numbers in the same order."""
    return np.ascontiguousarray(places[:, :8]).view(">u8").ravel().astype(np.uint64)


def _cut(joined: bytes, ends: Iterable[int]) -> list[bytes]:
    return [joined[start:end] for start, end in pairwise(chain((0,), ends))]
