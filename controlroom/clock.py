"""Slots and the local time that people read them in. A slot is a quarter of an hour: Unix seconds // 900."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

LOCAL = ZoneInfo("Europe/Berlin")
SLOT_SECONDS = 900


def local_time(slot: int) -> datetime:
    """The slot's beginning."""
    return datetime.fromtimestamp(slot * SLOT_SECONDS, UTC).astimezone(LOCAL)


def day_of(slot: int) -> date:
    """The local day in which the slot begins."""
    return local_time(slot).date()


def slots_of(day: date) -> range:
    """All slots that begin on the local day: 92, 96 or 100."""
    return range(_midnight(day), _midnight(day + timedelta(days=1)))


def _midnight(day: date) -> int:
    return int(datetime.combine(day, time(), LOCAL).timestamp()) // SLOT_SECONDS


def slot_label(slot: int) -> str:
    """02:15; where the clock shows a time twice, with the zone's name: 02:15 CEST, then 02:15 CET."""
    moment = local_time(slot)
    twice = moment.replace(fold=0).utcoffset() != moment.replace(fold=1).utcoffset()
    shown = f"{moment:%H:%M}"
    return f"{shown} {moment.tzname()}" if twice else shown
