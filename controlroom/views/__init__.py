"""The pages' contents, each a pure function of what the room knows and of the viewer's parameters."""

from __future__ import annotations

from collections.abc import Callable

from controlroom.room import Params, Room, View
from controlroom.views.certificates import certificates
from controlroom.views.explorer import explorer
from controlroom.views.feeder import feeder
from controlroom.views.head import head
from controlroom.views.market import day, slot
from controlroom.views.network import network
from controlroom.views.participant import participant, participants

VIEWS: dict[str, Callable[[Room, Params], View]] = {
    "head": head,
    "network": network,
    "market/day": day,
    "market/slot": slot,
    "feeder": feeder,
    "participants": participants,
    "participant": participant,
    "certificates": certificates,
    "explorer": explorer,
}
"""What a viewer can watch: the answer is sent anew whenever it has changed."""

LIVELY = frozenset({"head", "network", "explorer"})
"""Views of more than the model: they are looked at again when any block or status comes."""
