"""Bills over generated histories: the leaves always add up, and no number can be changed unseen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from contracts.energy.imbalance import Terms, price_of, settle_terms
from gridbft.explain import Item, explain_bill
from gridbft.ground import ExplainError, Ground, Row
from gridbft.history import Happened
from gridbft.money import money_moved, posting_micros

ME, OTHERS = "me", ("you", "they")
SLOTS = (7, 8)


class History:
    """Events as the contracts would emit them."""

    def __init__(self) -> None:
        self.ground = Ground(ME)

    def emit(self, contract: str, name: str, **fields: Any) -> None:
        height = len(self.ground.events) + 1
        self.ground.events.append(Happened(height, height, f"{height:064x}", 0, 0, contract, name, fields))

    def trade(self, slot: int, buyer: str, seller: str, quantity_wh: int, price: int, fee: int, loss: int) -> None:
        terms = {
            "quantity_wh": quantity_wh,
            "price_micros_per_kwh": price,
            "amount_micros": price * quantity_wh // 1000,
        }
        costs = {"path": "zone", "fee_micros": fee, "loss_wh": 1, "loss_micros": loss}
        parties = {"zone": "z", "slot": slot, "buyer": buyer, "seller": seller}
        self.emit("market", "Traded", **parties, **terms, **costs)

    def settle(self, slot: int, terms: Terms, metered: dict[str, tuple[int, int]], group: str) -> None:
        self.ground.terms[slot] = terms
        self.emit("imbalance", "PricePosted", slot=slot, price_micros_per_kwh=terms.buy_price_micros_per_kwh, by="op")
        rows = []
        for account, (import_wh, export_wh) in metered.items():
            trades = [e.fields for e in self.ground.of("market", "Traded") if e.fields["slot"] == slot]
            sold = sum(f["quantity_wh"] for f in trades if f["seller"] == account)
            bought = sum(f["quantity_wh"] for f in trades if f["buyer"] == account)
            rows.append((account, group or account, sold, bought, import_wh, export_wh, 0))
            if account == ME:
                place = (len(self.ground.events), 1)
                row = Row("m", slot, import_wh, export_wh, "DIRECT", "ab", "mo", place)
                self.ground.readings.setdefault(("m", slot), []).append(row)
        accounts, groups, _ = settle_terms(terms, rows)
        prices = {brp: price_of(terms, wh) for brp, wh, _ in groups}
        for row_, (account, imbalance_wh, amount) in zip(rows, accounts, strict=True):
            names = ("brp", "sold_wh", "bought_wh", "import_wh", "export_wh", "activated_wh")
            told = dict(zip(names, row_[1:], strict=True))
            result = {"imbalance_wh": imbalance_wh, "amount_micros": amount}
            self.emit(
                "imbalance",
                "Settled",
                slot=slot,
                account=account,
                **told,
                **result,
                price_micros_per_kwh=prices[row_[1]],
            )
        self.emit("imbalance", "SlotSettled", slot=slot, run=1, participants=len(rows))


people = st.sampled_from((ME, *OTHERS))
trade = st.tuples(
    st.sampled_from(SLOTS), people, people, st.integers(1, 5_000), st.integers(0, 200_000), *[st.integers(0, 9)] * 2
)
energy = st.tuples(st.integers(0, 5_000), st.integers(0, 5_000))
terms_strategy = st.builds(
    Terms,
    st.sampled_from(["dual", "none"]),
    st.integers(-200_000, 400_000),
    st.integers(-200_000, 400_000),
    st.integers(0, 100_000),
    st.integers(0, 200_000),
)


@st.composite
def histories(draw: st.DrawFn) -> Ground:
    history = History()
    for slot, buyer, seller, quantity_wh, price, fee, loss in draw(st.lists(trade, max_size=6)):
        if buyer != seller:
            history.trade(slot, buyer, seller, quantity_wh, price, fee, loss)
    for slot in SLOTS[: draw(st.integers(0, 2))]:
        metered = {account: draw(energy) for account in (ME, *OTHERS)}
        history.settle(slot, draw(terms_strategy), metered, draw(st.sampled_from(["", "group"])))
    return history.ground


@given(histories())
def test_leaves_add_up_to_the_bill_to_the_last_micro(ground: Ground) -> None:
    found = explain_bill(ground, None)
    assert found.amount_micros == sum(leaf.amount_micros or 0 for leaf in found.leaves())
    assert found.amount_micros == sum(posting_micros(e, ME) for e in ground.events) == money_moved(ground, 0)
    for item in every(found):
        if item.parts:
            assert item.amount_micros == sum(part.amount_micros or 0 for part in item.parts)


def every(item: Item) -> list[Item]:
    return [item, *(below for part in item.parts for below in every(part))]


@given(histories(), st.sampled_from(SLOTS))
def test_bills_of_slots_add_up_to_the_bill_of_all(ground: Ground, slot: int) -> None:
    rest = next(s for s in SLOTS if s != slot)
    parts = [explain_bill(ground, range(s, s + 1)).amount_micros or 0 for s in (slot, rest)]
    assert sum(parts) == explain_bill(ground, None).amount_micros


_NUMBERS = ("quantity_wh", "amount_micros", "sold_wh", "bought_wh", "import_wh", "export_wh", "imbalance_wh")


@given(histories(), st.data())
def test_a_changed_number_of_the_account_s_own_events_is_seen(ground: Ground, data: st.DataObject) -> None:
    mine = [
        (place, name)
        for place, e in enumerate(ground.events)
        for name in _NUMBERS
        if name in e.fields and ME in (e.fields.get("account"), e.fields.get("buyer"), e.fields.get("seller"))
    ]
    assume(mine and {e.fields["slot"] for e in ground.events} <= set(ground.terms))
    place, name = data.draw(st.sampled_from(mine))
    event = ground.events[place]
    change = 1_000_000 if name == "quantity_wh" else 1  # a Wh more may cost nothing
    ground.events[place] = replace(event, fields={**event.fields, name: event.fields[name] + change})
    with pytest.raises(ExplainError):
        explain_bill(ground, None)


def test_terms_that_the_node_does_not_tell_are_missed() -> None:
    history = History()
    history.settle(7, Terms("single", 10, 10, 0, 0), {ME: (5, 0)}, "")
    history.ground.terms.clear()
    with pytest.raises(ExplainError, match="does not tell the terms"):
        explain_bill(history.ground, None)


def test_a_certificate_bought_is_on_the_bill_of_the_slot_in_which_it_was_sold() -> None:
    history = History()
    terms = {"certificate_id": 3, "quantity_wh": 2_500, "price_micros_per_kwh": 1_001, "amount_micros": 2_502}
    history.emit("certificates", "Sold", buyer=ME, seller="you", **terms)
    found = explain_bill(history.ground, None)
    assert [(leaf.label, leaf.amount_micros) for leaf in found.leaves()] == [("certificate bought", -2_502)]
    assert found.parts[0].facts["slot"] == 0
    history.ground.account = "you"
    assert explain_bill(history.ground, range(1)).amount_micros == 2_502
    history.emit("certificates", "Sold", buyer=ME, seller="you", **{**terms, "amount_micros": 2_503})
    with pytest.raises(ExplainError, match="is not its price times its quantity"):
        explain_bill(history.ground, None)
