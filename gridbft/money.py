"""What events do to an account's money: the postings that bills are made of, and all else that moves it.

A posting is an energy contract's event with an amount. Its payment may show as moves and captures of the payments
contract, or (auction, settlement) not show there at all; so postings and payments are two ways to the same balance, and
`money_moved` goes the second one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gridbft.ground import Ground
from gridbft.history import Happened

SLOT_MS = 900_000
TRADES = ("Traded", "Served")
"""Events of a trade, whichever market made it: Served is one with the supplier of last resort."""
CERTIFICATE_SALE = ("certificates", "Sold")
SETTLED, RESETTLED, SLOT_SETTLED = ("imbalance", "Settled"), ("imbalance", "Resettled"), ("imbalance", "SlotSettled")
ARREARS = ("imbalance", "ArrearsChanged")
ACTIVATED = ("balancing", "Activated")
NEUTRALITY, GRID = "neutrality", "grid"  # funds: the other side of settlements and activations; who grid fees are for

_PAY_THEIR_POSTINGS = ("continuous", "bilateral", "resort", "balancing", "certificates")  # by moves and captures


def costs_micros(event: Happened) -> int:
    """What the grid takes from the buyer of a trade."""
    return int(event.fields.get("fee_micros", 0) + event.fields.get("loss_micros", 0))


def posting_micros(event: Happened, account: str) -> int:
    """What an energy contract's event adds to the account's bill; arrears are no posting."""
    f = event.fields
    if event.name in TRADES:
        paid = (f["amount_micros"] + costs_micros(event)) * (f["buyer"] == account)
        received = f["amount_micros"] * (f["seller"] == account) + costs_micros(event) * (account == GRID)
        return int(received - paid)
    if event.kind == CERTIFICATE_SALE:
        return int(f["amount_micros"] * ((f["seller"] == account) - (f["buyer"] == account)))
    if event.kind in (SETTLED, ACTIVATED):
        return int(f["amount_micros"] * ((f["account"] == account) - (account == NEUTRALITY)))
    if event.kind == RESETTLED:
        return int(f["difference_micros"] * ((f["account"] == account) - (account == NEUTRALITY)))
    return 0


def concerns(event: Happened, account: str) -> bool:
    """Whether the event is a posting of the account, be it of nothing."""
    f = event.fields
    if event.name in TRADES:
        return account in (f["buyer"], f["seller"]) or (account == GRID and costs_micros(event) > 0)
    if event.kind == CERTIFICATE_SALE:
        return account in (f["buyer"], f["seller"])
    return event.kind in (SETTLED, RESETTLED, ACTIVATED, ARREARS) and account in (f["account"], NEUTRALITY)


def postings_by_slot(ground: Ground) -> dict[int, list[Happened]]:
    """The account's postings, and the arrears that settlements left or paid, by the slot that they are for.

    What a run of a settlement posts holds once the run is complete. A sale of certificates belongs to the slot in which it
    happened, arrears to the slot whose settlement changed them.
    """
    runs, arrears_slots = complete_runs(ground.events), arrears_by_settlement(ground.events)
    found: dict[int, list[Happened]] = {}
    for event in ground.events:
        if not concerns(event, ground.account) or not _holds(event, runs):
            continue
        if event.kind == ARREARS:
            if event.place in arrears_slots:
                found.setdefault(arrears_slots[event.place], []).append(event)
        else:
            slot = int(event.fields.get("slot", event.time_ms // SLOT_MS))
            found.setdefault(slot, []).append(event)
    return found


def complete_runs(events: Iterable[Happened]) -> set[tuple[int, int]]:
    """(slot, run) of the settlements that are complete: their money has moved."""
    return {(e.fields["slot"], e.fields["run"]) for e in events if e.kind == SLOT_SETTLED}


def _holds(event: Happened, runs: set[tuple[int, int]]) -> bool:
    if event.kind not in (SETTLED, RESETTLED):
        return True
    return (event.fields["slot"], event.fields.get("run", 1)) in runs


def arrears_by_settlement(events: Sequence[Happened]) -> dict[tuple[int, int, int], int]:
    """Place of a change of arrears -> the slot whose settlement made it; those that were paid by hand are not in it.

    A settlement says so at its end, in the same transaction; who pays by hand is told by a move just before.
    """
    found: dict[tuple[int, int, int], int] = {}
    settled = (0, 0, 0)  # height, place of the transaction, slot
    for place in range(len(events) - 1, -1, -1):
        event = events[place]
        if event.kind == SLOT_SETTLED:
            settled = (event.height, event.index, event.fields["slot"])
        elif (
            event.kind == ARREARS
            and (event.height, event.index) == settled[:2]
            and not _pays_by_hand(events[place - 1], event)
        ):
            found[event.place] = settled[2]
    return found


def _pays_by_hand(move: Happened, change: Happened) -> bool:
    return (
        move.kind == ("payments", "Moved")
        and (move.height, move.index, move.number + 1) == change.place
        and move.fields["source"] == change.fields["account"]
        and move.fields["amount_micros"] == -change.fields["change_micros"]
    )


def payment_micros(event: Happened, account: str) -> int:
    """What an event of the payments contract adds to the account's balance and holds together."""
    f = event.fields
    if event.contract != "payments":
        return 0
    match event.name:
        case "Minted":
            return int(f["amount_micros"] * (f["to"] == account))
        case "Burned":
            return int(-f["amount_micros"] * (f["account"] == account))
        case "Transferred" | "Moved":
            return int(f["amount_micros"] * ((f["to"] == account) - (f["source"] == account)))
        case "Captured":
            return int(f["amount_micros"] * ((f["to"] == account) - (f["account"] == account)))
        case _:
            return 0


def arrears_micros(event: Happened, account: str) -> int:
    """What a settlement's change of arrears adds: unpaid money stays with the debtor, and neutrality goes without it."""
    f = event.fields
    return int(f["change_micros"] * ((f["account"] == account) - (account == NEUTRALITY)))


def money_moved(ground: Ground, opening_micros: int) -> int:
    """What the account's balance and holds should be: what it had at genesis, and all that happened to it since."""
    runs, arrears_slots = complete_runs(ground.events), arrears_by_settlement(ground.events)
    moved = opening_micros
    for event in ground.events:
        moved += payment_micros(event, ground.account)
        if event.kind == ("market", "Traded") or (event.contract == "imbalance" and _holds(event, runs)):
            moved += posting_micros(event, ground.account)  # paid in one sum with others, without events of payments
        if event.kind == ARREARS and event.place in arrears_slots:
            moved += arrears_micros(event, ground.account)
    return moved


def other_payments(ground: Ground) -> list[Happened]:
    """What moved the account's money and pays no posting: deposits, withdrawals, transfers, arrears paid by hand."""
    continuous = {e.tx_id for e in ground.events if e.kind == ("continuous", "Traded")}
    return [
        e
        for e in ground.events
        if e.contract == "payments"
        and payment_micros(e, ground.account) != 0
        and not (e.name == "Moved" and e.fields["by"] in _PAY_THEIR_POSTINGS)
        and not (e.name == "Captured" and e.tx_id in continuous)
    ]
