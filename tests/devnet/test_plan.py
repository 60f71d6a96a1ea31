"""The day's plan: who retires what, and that steps done before are not done again."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from devnet.book import Certificate
from devnet.plan import allot

NAMES = st.sampled_from([f"account-{number}" for number in range(6)])


@given(
    st.lists(st.tuples(NAMES, st.integers(1, 900)), max_size=6),
    st.dictionaries(NAMES, st.integers(1, 900), max_size=6),
)
def test_retirements_are_the_smaller_of_generation_and_consumption(
    produced: list[tuple[str, int]], consumption_wh: dict[str, int]
) -> None:
    certificates = [
        Certificate(number, f"G{number}", owner, wh) for number, (owner, wh) in enumerate(produced, start=1)
    ]
    rows = allot(certificates, consumption_wh)
    claimed: Counter[str] = Counter()
    used: Counter[int] = Counter()
    for owner, of_owner in rows.items():
        for number, wh, beneficiary in of_owner:
            assert wh > 0
            assert certificates[number - 1].owner == owner
            used[number] += wh
            claimed[beneficiary] += wh
    assert sum(used.values()) == min(sum(wh for _, wh in produced), sum(consumption_wh.values()))
    assert all(wh <= certificates[number - 1].quantity_wh for number, wh in used.items())
    assert all(wh <= consumption_wh[account] for account, wh in claimed.items())


def test_owners_serve_themselves_first() -> None:
    certificates = [Certificate(1, "G1", "b", 10), Certificate(2, "G2", "a", 10)]
    assert allot(certificates, {"a": 4, "b": 3, "c": 9}) == {
        "b": [(1, 3, "b"), (1, 7, "c")],
        "a": [(2, 4, "a"), (2, 2, "c")],
    }
