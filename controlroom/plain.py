"""Values of the chain as JSON takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """Bytes become hexadecimal, tuples lists, ranges their ends; what else JSON knows stays."""
    match value:
        case bytes():
            return value.hex()
        case Mapping():
            return {str(k): plain(v) for k, v in value.items()}
        case range():
            return [value.start, value.stop]
        case list() | tuple() | set() | frozenset():
            return [plain(v) for v in value]
        case _:
            return value
