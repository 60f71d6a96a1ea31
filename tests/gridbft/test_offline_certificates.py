"""Certificates split and matched from files, by the contract's own functions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridbft.offline import match_certificates, split_certificates
from gridbft.rows import InputFault


def split(certificates: list[Any], splits: list[Any]) -> list[dict[str, Any]]:
    found = split_certificates(json.dumps({"certificates": certificates, "splits": splits}))["certificates"]
    assert isinstance(found, list)
    return found


def match(certificates: list[Any], consumption: list[Any]) -> dict[str, Any]:
    return match_certificates(json.dumps({"certificates": certificates, "consumption": consumption}))


def whole(name: str, quantity_wh: int, **more: Any) -> dict[str, Any]:
    return {"id": name, "quantity_wh": quantity_wh, **more}


def made(name: str, slot: int, quantity_wh: int, **more: Any) -> dict[str, Any]:
    return {"id": name, "slot": slot, "quantity_wh": quantity_wh, **more}


def used(account: str, slot: int, import_wh: int) -> dict[str, Any]:
    return {"account": account, "slot": slot, "import_wh": import_wh}


def test_1000_at_250_gives_250_and_750() -> None:
    rest, part = split([whole("c", 1_000)], [whole("c", 250)])
    assert (part["id"], part["parent"], part["unit_start"], part["unit_end"]) == ("c/1", "c", 0, 250)
    assert (rest["id"], rest["parent"], rest["unit_start"], rest["unit_end"]) == ("c", None, 250, 1_000)
    assert (part["quantity_wh"], rest["quantity_wh"]) == (250, 750)


@given(st.integers(2, 10**6), st.integers(0, 10**12), st.lists(st.integers(0, 10**9), max_size=6))
def test_parts_are_disjoint_and_together_the_whole(quantity_wh: int, unit_start: int, choices: list[int]) -> None:
    splits: list[dict[str, Any]] = []
    sizes = {"c": quantity_wh}
    for choice in choices:
        name = sorted(sizes)[choice % len(sizes)]
        if sizes[name] > 1:
            taken = 1 + choice % (sizes[name] - 1)
            part = f"{name}/{1 + sum(s['id'] == name for s in splits)}"
            sizes[name], sizes[part] = sizes[name] - taken, taken
            splits.append(whole(name, taken))
    found = sorted(split([whole("c", quantity_wh, unit_start=unit_start)], splits), key=lambda c: c["unit_start"])
    assert {c["id"]: c["quantity_wh"] for c in found} == sizes
    ends = [unit_start, *(c["unit_end"] for c in found)]
    assert [c["unit_start"] for c in found] == ends[:-1]
    assert ends[-1] == unit_start + quantity_wh


def test_certificates_are_matched_with_consumption_of_their_own_slot_only() -> None:
    found = match([made("a", 5, 100), made("b", 6, 50)], [used("x", 5, 70), used("y", 5, 20), used("x", 7, 99)])
    assert found["matches"] == [
        {"id": "a", "account": "x", "slot": 5, "quantity_wh": 70, "unit_start": 0, "unit_end": 70},
        {"id": "a", "account": "y", "slot": 5, "quantity_wh": 20, "unit_start": 70, "unit_end": 90},
    ]
    assert [(c["id"], c["matched_wh"], c["left_wh"]) for c in found["certificates"]] == [("a", 90, 10), ("b", 0, 50)]
    assert [(c["matched_wh"], c["open_wh"]) for c in found["consumption"]] == [(70, 0), (20, 0), (0, 99)]


amounts = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 50)), max_size=5)


@given(amounts, amounts)
def test_each_unit_and_each_consumed_wh_is_used_once_and_none_that_could_be_is_left(
    produced: list[tuple[int, int]], consumed: list[tuple[int, int]]
) -> None:
    certificates = [made(f"c{n}", slot, wh) for n, (slot, wh) in enumerate(produced)]
    found = match(certificates, [used(f"a{n}", slot, wh) for n, (slot, wh) in enumerate(consumed)])
    for slot in range(3):
        supply = sum(wh for s, wh in produced if s == slot)
        demand = sum(wh for s, wh in consumed if s == slot)
        assert sum(m["quantity_wh"] for m in found["matches"] if m["slot"] == slot) == min(supply, demand)
    for c in found["certificates"]:
        mine = [m for m in found["matches"] if m["id"] == c["id"]]
        assert sum(m["quantity_wh"] for m in mine) == c["matched_wh"]
        assert all(m["unit_end"] - m["unit_start"] == m["quantity_wh"] for m in mine)


@pytest.mark.parametrize(
    ("certificates", "splits", "what"),
    [
        (
            [whole("c", 10)],
            [whole("c", 11)],
            'splits, row 1, quantity_wh: expected less than the 10 Wh of "c", found 11',
        ),
        (
            [whole("c", 10)],
            [whole("c", 10)],
            'splits, row 1, quantity_wh: expected less than the 10 Wh of "c", found 10',
        ),
        ([whole("c", 10)], [whole("c", 5), whole("d", 5)], 'splits, row 2, id: there is no certificate "d"'),
        ([whole("c", 10), whole("c", 10)], [], 'certificates, row 2, id: "c" stands already in certificates, row 1'),
        ([whole("c", 0)], [], "certificates, row 1, quantity_wh: expected a whole number"),
        ([{"id": "c", "quantity_wh": 1.5}], [], "certificates, row 1, quantity_wh: expected a whole number"),
        ([whole("c", 9), whole("c/1", 9)], [whole("c", 1)], 'splits, row 1, id: the part would be called "c/1"'),
    ],
)
def test_bad_splits_are_named(certificates: list[Any], splits: list[Any], what: str) -> None:
    with pytest.raises(InputFault) as fault:
        split(certificates, splits)
    assert str(fault.value).startswith(what)


def test_consumption_of_an_account_and_slot_stands_once() -> None:
    with pytest.raises(InputFault, match=r'^consumption, row 2, account: "x" has consumption of slot 5 already$'):
        match([], [used("x", 5, 1), used("x", 5, 2)])
