"""What views may look at: the feed, and what the server was told at its start."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from controlroom.clock import day_of, slots_of
from controlroom.feed import Feed
from controlroom.grid import Grid
from controlroom.model import Model

Params = Mapping[str, str]
ADDRESS = re.compile(r"[0-9a-f]{40}")
View = dict[str, Any]
"""A view's answer: plain data for JSON. Energy in Wh, money in micros, prices in micros per kWh, times in Unix ms."""


class BadRequest(ValueError):  # noqa: N818 - named for what the viewer is told
    """A parameter of a view that cannot be; one sentence."""


@dataclass(frozen=True, slots=True)
class Tariffs:
    """What a kWh costs and earns outside of the market, in micros; a supplier's tariff on the chain goes before it."""

    retail_micros_per_kwh: int
    feed_in_micros_per_kwh: int


@dataclass(frozen=True, slots=True)
class Room:
    feed: Feed
    grid: Grid | None = None
    tariffs: Tariffs | None = None
    currency: str = ""  # ISO 4217, as in the genesis

    @property
    def model(self) -> Model:
        return self.feed.model


def chosen_day(model: Model, params: Params) -> date | None:
    """The day that is asked for, else the newest one that anything happened in; None where there is none."""
    text = params.get("day", "")
    if text:
        try:
            day = date.fromisoformat(text)
            slots_of(day)
        except (ValueError, OverflowError) as error:
            raise BadRequest(f"{text[:20]!r} is no day, expected YYYY-MM-DD") from error
        return day
    return model.newest_day


def chosen_slot(model: Model, params: Params) -> int | None:
    """The slot that is asked for, else the newest one of the chosen day."""
    text = params.get("slot", "")
    if text:
        if not text.isdecimal() or len(text) > 9:
            raise BadRequest(f"{text[:20]!r} is no slot")
        return int(text)
    day = chosen_day(model, params)
    return model.days.get(day, slots_of(day).start) if day is not None else None


def chosen_zone(model: Model, params: Params) -> str:
    """The zone that is asked for, else the first one by name."""
    return params.get("zone") or min((zone for zone, _ in model.trading.products), default="")


def account_of(model: Model, params: Params) -> str:
    """The account that is asked for, by address or name; "" where none is. Raises BadRequest for an unknown name.

    An address needs no registration: an operator, an issuer or a validator has money and certificates too.
    """
    text = params.get("account", "").strip()
    if not text or ADDRESS.fullmatch(text):
        return text
    found = [p.account for p in model.people.participants.values() if p.name == text]
    if len(found) == 1:
        return found[0]
    raise BadRequest(f"there is no participant {text[:60]!r}")


def shown_day(slot: int) -> str:
    return day_of(slot).isoformat()
