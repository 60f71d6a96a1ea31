"""Bilateral offers: a seller offers energy of a slot to a named buyer at a price; it is accepted or it expires.

An offer takes up the seller's envelope until it is accepted or withdrawn. Accepting pays the seller, and the grid's fee and
losses for the path, out of the buyer's balance, and counts as a position of both. It is possible before the gate of the
product only, and across zones as far as the transfer capacity reaches.
"""

from contracts.host import Map, NamedTuple, Value, call, ctx, emit, export, fail, replace, require, view

MAX_QUANTITY_WH = 1_000_000_000
MAX_PRICE_MICROS_PER_KWH = 1_000_000_000
PPM = 1_000_000

Offer = NamedTuple(
    "Offer",
    [
        ("seller", str),
        ("buyer", str),
        ("zone", str),
        ("slot", int),
        ("quantity_wh", int),
        ("price_micros_per_kwh", int),
        ("expires_ms", int),
        ("state", str),  # OPEN, ACCEPTED, WITHDRAWN; an open one past its time can only be withdrawn
    ],
)

offers: Map[int, Offer] = Map("offers")
last_offer: Value[int] = Value("last_offer", 0)


def open_offer(offer_id: int) -> Offer:
    found = offers.get(offer_id, None)
    if found is None:
        fail("UNKNOWN_OFFER")
    require(found.state == "OPEN", "OFFER_NOT_OPEN")
    return found


@export
def offer(zone: str, slot: int, buyer: str, quantity_wh: int, price_micros_per_kwh: int, expires_ms: int) -> int:
    """The caller offers energy to a buyer until a time (Unix milliseconds). Returns the offer's id."""
    seller = ctx.caller
    require(0 < quantity_wh <= MAX_QUANTITY_WH, "QUANTITY_OUT_OF_RANGE")
    require(0 <= price_micros_per_kwh <= MAX_PRICE_MICROS_PER_KWH, "PRICE_OUT_OF_RANGE")
    require(expires_ms > ctx.time_ms, "EXPIRED")
    require(seller != buyer, "SELF_TRADE")
    require(call("registry", "is_participant", seller), "NOT_A_PARTICIPANT")
    require(call("registry", "is_participant", buyer), "BUYER_NOT_A_PARTICIPANT")
    call("market", "require_seller", seller, zone, slot)
    call("market", "join", zone, slot)
    call("market", "reserve", seller, slot, 0, quantity_wh)
    offer_id = last_offer.get() + 1
    last_offer.set(offer_id)
    offers[offer_id] = Offer(seller, buyer, zone, slot, quantity_wh, price_micros_per_kwh, expires_ms, "OPEN")
    emit(
        "Offered",
        offer_id=offer_id,
        zone=zone,
        slot=slot,
        seller=seller,
        buyer=buyer,
        quantity_wh=quantity_wh,
        price_micros_per_kwh=price_micros_per_kwh,
        expires_ms=expires_ms,
    )
    return offer_id


@export
def withdraw(offer_id: int) -> None:
    """The seller takes an offer back that was not accepted, expired or not."""
    found = open_offer(offer_id)
    require(found.seller == ctx.caller, "NOT_YOUR_OFFER")
    offers[offer_id] = replace(found, state="WITHDRAWN")
    call("market", "reserve", found.seller, found.slot, 0, -found.quantity_wh)
    emit("OfferWithdrawn", offer_id=offer_id, seller=found.seller, buyer=found.buyer)


@export
def accept(offer_id: int) -> None:
    """The named buyer accepts an offer and pays it at once."""
    found = open_offer(offer_id)
    buyer = found.buyer
    require(buyer == ctx.caller, "NOT_YOUR_OFFER")
    require(ctx.time_ms <= found.expires_ms, "EXPIRED")
    tariff = call("market", "join", found.zone, found.slot)
    seller_feeder, seller_zone = call("grid", "connection", found.seller)
    buyer_feeder, buyer_zone = call("grid", "connection", buyer)
    path = 1
    if seller_zone != "" and buyer_zone != "" and seller_zone != buyer_zone:
        path = 2
        call("grid", "use_capacity", seller_zone, buyer_zone, found.slot, found.quantity_wh)
    elif seller_feeder == buyer_feeder and seller_feeder != "":
        path = 0
    quantity_wh = found.quantity_wh
    amount_micros = found.price_micros_per_kwh * quantity_wh // 1000
    fee_micros = tariff[2 * path] * quantity_wh // 1000
    loss_ppm = tariff[2 * path + 1]
    loss_micros = found.price_micros_per_kwh * quantity_wh * loss_ppm // (1000 * PPM)
    if amount_micros > 0:
        call("payments", "move", buyer, found.seller, amount_micros)
    if fee_micros + loss_micros > 0:
        call("payments", "move", buyer, "grid", fee_micros + loss_micros)
    call("market", "reserve", buyer, found.slot, quantity_wh, 0)
    call("market", "reserve", buyer, found.slot, -quantity_wh, 0)
    call("market", "reserve", found.seller, found.slot, 0, -quantity_wh)
    call("market", "record", found.slot, [(buyer, found.seller, quantity_wh)])
    offers[offer_id] = replace(found, state="ACCEPTED")
    emit(
        "Traded",
        zone=found.zone,
        slot=found.slot,
        buyer=buyer,
        seller=found.seller,
        offer_id=offer_id,
        quantity_wh=quantity_wh,
        price_micros_per_kwh=found.price_micros_per_kwh,
        amount_micros=amount_micros,
        path=("feeder", "zone", "across")[path],
        fee_micros=fee_micros,
        loss_wh=loss_ppm * quantity_wh // PPM,
        loss_micros=loss_micros,
    )


@view
def offer_of(offer_id: int) -> Offer | None:
    """The offer's record, or None."""
    return offers.get(offer_id, None)


@view
def offer_count() -> int:
    """How many offers there were; the last id."""
    return last_offer.get()
