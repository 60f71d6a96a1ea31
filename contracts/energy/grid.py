"""The grid: where everybody is connected, what the way between two connections costs, and what the grid can carry.

All of it is an operator's (the DSO's) to set:
- zones: once one is known here, energy is traded in known zones only; a zone can be for renewable energy only, or for
  the energy of one feeder only: then only those sell in it who deliver that;
- connections: the feeder and the zone of each participant; who has none counts as local everywhere;
- a fee (micros per kWh) and a loss factor (ppm) for each path: within a feeder, within a zone, across zones;
- operating envelopes: what a connection may import and export in a slot; of a standing one and one for the slot, the
  tighter holds;
- transfer capacities: what may flow from a zone to another in a slot; nothing where nothing was set.
"""

from contracts.host import Map, NamedTuple, Value, call, ctx, emit, export, require, view

ATTRIBUTES = ("", "renewable", "feeder")
PATHS = ("feeder", "zone", "across")
MARKETS = ("market", "continuous", "bilateral")
MAX_NAME_CHARACTERS = 32
MAX_FEE_MICROS_PER_KWH = 1_000_000_000
MAX_LOSS_PPM = 500_000
MAX_ENERGY_WH = 1_000_000_000_000
MAX_SLOT = 100_000_000
EVERY_SLOT = -1
NO_LIMIT = -1

Connection = NamedTuple("Connection", [("feeder", str), ("zone", str)])
Fee = NamedTuple("Fee", [("fee_micros_per_kwh", int), ("loss_ppm", int)])
Envelope = NamedTuple("Envelope", [("import_wh", int), ("export_wh", int)])
Zone = NamedTuple("Zone", [("attribute", str), ("feeder", str)])
Entry = NamedTuple(
    "Entry",
    [
        ("zone_known", bool),
        ("attribute", str),
        ("attribute_feeder", str),
        ("feeder", str),  # of the account's connection
        ("home", str),  # its zone, or "" where it has none
        ("import_limit_wh", int),  # -1 without an envelope
        ("export_limit_wh", int),
    ],
)

zones: Map[str, Zone] = Map("zones")
zone_count: Value[int] = Value("zone_count", 0)
connections: Map[str, Connection] = Map("connections")
fees: Map[str, Fee] = Map("fees")  # path
envelopes: Map[tuple[str, int], Envelope] = Map("envelopes")  # (account, slot or -1)
capacities: Map[tuple[str, str, int], int] = Map("capacities")  # (from, to, slot) -> Wh
flows: Map[tuple[str, str, int], int] = Map("flows")  # (from, to, slot) -> Wh traded so far


def require_operator() -> None:
    require(call("registry", "has_role", ctx.caller, "OPERATOR"), "NOT_OPERATOR")


@export
def set_zone(zone: str, attribute: str, feeder: str) -> None:
    """An operator makes a zone known. Attribute "renewable" or "feeder" (with its name) restricts who sells in it."""
    require_operator()
    require(0 < len(zone) <= MAX_NAME_CHARACTERS, "ZONE_LENGTH")
    require(attribute in ATTRIBUTES, "UNKNOWN_ATTRIBUTE")
    require((attribute == "feeder") == (0 < len(feeder) <= MAX_NAME_CHARACTERS), "FEEDER_LENGTH")
    require(zone not in zones, "ZONE_STANDS")
    zones[zone] = Zone(attribute, feeder)
    zone_count.set(zone_count.get() + 1)
    emit("ZoneSet", zone=zone, attribute=attribute, feeder=feeder, by=ctx.caller)


@export
def set_connection(account: str, feeder: str, zone: str) -> None:
    """An operator says where a participant is connected; it holds for orders placed afterwards."""
    require_operator()
    require(call("registry", "is_participant", account), "NOT_A_PARTICIPANT")
    require(0 < len(feeder) <= MAX_NAME_CHARACTERS, "FEEDER_LENGTH")
    require(0 < len(zone) <= MAX_NAME_CHARACTERS, "ZONE_LENGTH")
    connections[account] = Connection(feeder, zone)
    emit("ConnectionSet", account=account, feeder=feeder, zone=zone, by=ctx.caller)


@export
def set_fee(path: str, fee_micros_per_kwh: int, loss_ppm: int) -> None:
    """An operator sets fee and loss factor of a path (feeder, zone, across), for products that open afterwards."""
    require_operator()
    require(path in PATHS, "UNKNOWN_PATH")
    require(0 <= fee_micros_per_kwh <= MAX_FEE_MICROS_PER_KWH, "FEE_OUT_OF_RANGE")
    require(0 <= loss_ppm <= MAX_LOSS_PPM, "LOSS_OUT_OF_RANGE")
    fees[path] = Fee(fee_micros_per_kwh, loss_ppm)
    emit("FeeSet", path=path, fee_micros_per_kwh=fee_micros_per_kwh, loss_ppm=loss_ppm, by=ctx.caller)


@export
def set_envelope(account: str, slot: int, import_wh: int, export_wh: int) -> None:
    """An operator limits what a connection may import and export in a slot, or in every slot (-1)."""
    require_operator()
    require(call("registry", "is_participant", account), "NOT_A_PARTICIPANT")
    require(EVERY_SLOT <= slot <= MAX_SLOT, "SLOT_OUT_OF_RANGE")
    require(0 <= import_wh <= MAX_ENERGY_WH and 0 <= export_wh <= MAX_ENERGY_WH, "ENERGY_OUT_OF_RANGE")
    envelopes[(account, slot)] = Envelope(import_wh, export_wh)
    emit("EnvelopeSet", account=account, slot=slot, import_wh=import_wh, export_wh=export_wh, by=ctx.caller)


@export
def set_capacity(source: str, sink: str, slot: int, capacity_wh: int) -> None:
    """An operator sets what may flow from a zone to another in a slot; never less than what was traded already."""
    require_operator()
    require(0 < len(source) <= MAX_NAME_CHARACTERS and 0 < len(sink) <= MAX_NAME_CHARACTERS, "ZONE_LENGTH")
    require(source != sink, "SAME_ZONE")
    require(0 <= slot <= MAX_SLOT, "SLOT_OUT_OF_RANGE")
    require(0 <= capacity_wh <= MAX_ENERGY_WH, "ENERGY_OUT_OF_RANGE")
    require(capacity_wh >= flows.get((source, sink, slot), 0), "CAPACITY_IN_USE")
    capacities[(source, sink, slot)] = capacity_wh
    emit("CapacitySet", source=source, sink=sink, slot=slot, capacity_wh=capacity_wh, by=ctx.caller)


@export
def use_capacity(source: str, sink: str, slot: int, quantity_wh: int) -> None:
    """A market takes up capacity that it has sold; beyond the capacity it is refused."""
    require(ctx.caller in MARKETS, "NOT_A_MARKET")
    flow_wh = flows.get((source, sink, slot), 0) + quantity_wh
    require(flow_wh <= capacities.get((source, sink, slot), 0), "BEYOND_CAPACITY")
    flows[(source, sink, slot)] = flow_wh


def tighter(one_wh: int, other_wh: int) -> int:
    if one_wh == NO_LIMIT:
        return other_wh
    return one_wh if other_wh == NO_LIMIT else min(one_wh, other_wh)


@view
def envelope(account: str, slot: int) -> tuple[int, int]:
    """(import_wh, export_wh) that the connection may use in the slot; -1 where nothing limits it."""
    none = Envelope(NO_LIMIT, NO_LIMIT)
    standing = envelopes.get((account, EVERY_SLOT), none)
    here = envelopes.get((account, slot), none)
    return (tighter(standing.import_wh, here.import_wh), tighter(standing.export_wh, here.export_wh))


@view
def entry(account: str, zone: str, slot: int) -> Entry:
    """All that an order entry asks: the zone's rule, the account's connection, and its envelope."""
    return entries(account, [(zone, slot)])[0]


@view
def entries(account: str, products: list[tuple[str, int]]) -> list[Entry]:
    """`entry` for each (zone, slot)."""
    no_limits = Envelope(NO_LIMIT, NO_LIMIT)
    feeder, home = connections.get(account, Connection("", ""))
    standing = envelopes.get((account, EVERY_SLOT), no_limits)
    every_zone = zone_count.get() == 0
    found: list[Entry] = []
    for zone, slot in products:
        known, attribute, attribute_feeder = (True, "", "")
        if not every_zone:
            rule = zones.get(zone, None)
            known = rule is not None
            attribute, attribute_feeder = ("", "") if rule is None else (rule.attribute, rule.feeder)
        here = envelopes.get((account, slot), no_limits)
        import_wh = tighter(standing.import_wh, here.import_wh)
        export_wh = tighter(standing.export_wh, here.export_wh)
        found.append(Entry(known, attribute, attribute_feeder, feeder, home, import_wh, export_wh))
    return found


@view
def tariff() -> list[int]:
    """[fee, loss, fee, loss, fee, loss] of the paths feeder, zone, across: micros per kWh and ppm."""
    found: list[int] = []
    for path in PATHS:
        fee = fees.get(path, Fee(0, 0))
        found.append(fee.fee_micros_per_kwh)
        found.append(fee.loss_ppm)
    return found


@view
def connection(account: str) -> tuple[str, str]:
    """(feeder, zone) of the account, empty where it has none."""
    found = connections.get(account, Connection("", ""))
    return (found.feeder, found.zone)


@view
def free_capacity(source: str, sink: str, slot: int) -> int:
    """What may still flow from the zone to the other in the slot (Wh)."""
    return capacities.get((source, sink, slot), 0) - flows.get((source, sink, slot), 0)
