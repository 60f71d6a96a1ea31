"""The feeder: what each bus takes and gives in a slot, what flows through each line, and where limits bind."""

from __future__ import annotations

from typing import Any

from controlroom.clock import local_time, slot_label, slots_of
from controlroom.grid import SLOTS_AN_HOUR
from controlroom.model import Model
from controlroom.people import NO_LIMIT, Meter
from controlroom.room import BadRequest, Params, Room, View, chosen_day, chosen_slot


def feeder(room: Room, params: Params) -> View:
    model, grid = room.model, room.grid
    if grid is None:
        raise BadRequest("this server knows no feeder: start it with --feeder DIR")
    chosen = chosen_slot(model, params) if params.get("slot") else newest_metered(model, params)
    energy = bus_energy(model, chosen) if chosen is not None else {}
    flows = grid.flows_wh({bus: imported - exported for bus, (imported, exported) in energy.items()})
    meters: dict[str, list[Meter]] = {}
    for meter in model.people.meters.values():
        meters.setdefault(meter.bus, []).append(meter)
    through = sum(imported - exported for imported, exported in energy.values())
    return {
        "slot": chosen,
        "label": slot_label(chosen) if chosen is not None else "",
        "day": local_time(chosen).date().isoformat() if chosen is not None else None,
        "root": grid.root,
        "import_wh": sum(imported for imported, _ in energy.values()),
        "export_wh": sum(exported for _, exported in energy.values()),
        "transformer_wh": through,
        "transformer_load": round(abs(through) * SLOTS_AN_HOUR / grid.rated_va, 4),
        "rated_va": grid.rated_va,
        "buses": [
            {
                "bus": bus.name,
                "step": bus.step,
                "lane": bus.lane,
                "length_m": round(bus.length_m, 1),
                **_connection(model, chosen, meters.get(bus.name, []), energy.get(bus.name, (0, 0))),
            }
            for bus in grid.buses.values()
        ],
        "lines": [
            {
                "line": line.name,
                "from": line.near,
                "to": line.far,
                "open": line.is_open,
                "flow_wh": flows[line.name],
                "load": round(abs(flows[line.name]) * SLOTS_AN_HOUR / line.rated_w, 4),
            }
            for line in grid.lines
        ],
    }


def newest_metered(model: Model, params: Params) -> int | None:
    """The newest slot of the chosen day with readings; orders run ahead of what flows."""
    day = chosen_day(model, params)
    slots = slots_of(day) if day is not None else range(0)
    return max((s for s in model.energy.metered if s in slots), default=chosen_slot(model, params))


def bus_energy(model: Model, slot: int) -> dict[str, tuple[int, int]]:
    """Bus -> (import, export) Wh in the slot, from the readings that stand."""
    found: dict[str, tuple[int, int]] = {}
    for code, row in model.energy.readings.get(slot, {}).items():
        meter = model.people.meters.get(code)
        if meter is not None:
            imported, exported = found.get(meter.bus, (0, 0))
            found[meter.bus] = (imported + row.import_wh, exported + row.export_wh)
    return found


def _connection(model: Model, slot: int | None, meters: list[Meter], energy: tuple[int, int]) -> dict[str, Any]:
    """Who is connected at the bus. An envelope binds where it is used up, by what was metered or by what was traded."""
    accounts = sorted({m.account for m in meters})
    account = accounts[0] if accounts else ""
    import_limit, export_limit = model.people.envelope(account, slot) if slot is not None else (NO_LIMIT, NO_LIMIT)
    row = model.energy.settled.get(slot, {}).get(account) if slot is not None else None
    taken = max(energy[0], row.bought_wh if row else 0)
    given = max(energy[1], row.sold_wh if row else 0)
    return {
        "account": account,
        "name": model.people.name(account) if account else "",
        "kinds": sorted({m.kind for m in meters}),
        "import_wh": energy[0],
        "export_wh": energy[1],
        "import_limit_wh": import_limit,
        "export_limit_wh": export_limit,
        "binds": (import_limit != NO_LIMIT and taken >= import_limit)
        or (export_limit != NO_LIMIT and given >= export_limit),
    }
