"""The garbage collector of a long-lived process: what is there after the start stays, and short-lived objects die by counting."""

from __future__ import annotations

import gc

YOUNG_OBJECTS = 50_000  # made without being freed, before a look at the young ones; the default of 700 looks at every block many times
MIDDLE_LOOKS, OLD_LOOKS = 20, 50


def calm_collector() -> None:
    """Once, when the node is built: modules, contracts and the store's caches are never looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, MIDDLE_LOOKS, OLD_LOOKS)
