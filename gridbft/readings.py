"""Readings in columns, as a meter operator's program sends them.

imports, exports = columns(meters, {"M-1": (120, 0), "M-3": (0, 55)})
await client.call("metering", "submit_packed", roster, slot, 0, imports, exports)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from contracts.energy.metering import NO_READING
from contracts.energy.rosters import PAGE
from contracts.host import pack_column

PAGES_AT_ONCE = 15
"""So many full pages fit into one transaction."""


def columns(meters: Sequence[str], readings_wh: Mapping[str, tuple[int, int]]) -> tuple[list[bytes], list[bytes]]:
    """(imports, exports), a column for each page. `meters` stand in the order of the roster, from the beginning of a page on;
    readings are (import, export) in Wh by meter, and a meter without one has none in the columns either.

    Raises ContractError VALUE_ERROR for a reading that is negative or beyond 32 bits.
    """
    pairs = [readings_wh.get(meter, (NO_READING, NO_READING)) for meter in meters]
    pages = [pairs[first : first + PAGE] for first in range(0, len(pairs), PAGE)]
    imports, exports = ([pack_column([pair[side] for pair in page]) for page in pages] for side in (0, 1))
    return imports, exports
