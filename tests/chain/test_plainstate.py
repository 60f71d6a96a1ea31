"""The plain state and the tree are two ways to compute one definition."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain import state
from chain.hashes import ZERO_HASH
from chain.kv import StoreCorruptError
from chain.memory import MemoryKV
from chain.plainstate import PlainState
from chain.state import State, open_state
from chain.statetree import StateTree
from tests.chain.states import BATCH, CROWD, DEEP_BATCH, KEYS, Writes, applied, model_root, undo

HISTORY = st.lists(BATCH | DEEP_BATCH | st.integers(0, len(CROWD)).map(lambda n: dict.fromkeys(CROWD[:n], b"v")))


@given(HISTORY, KEYS | st.sampled_from(CROWD))
def test_both_say_the_same_after_any_history(history: list[Writes], key: bytes) -> None:
    stores = MemoryKV(), MemoryKV()
    states: tuple[State, State] = PlainState(stores[0]), StateTree(stores[1])
    model: dict[bytes, bytes] = {}
    for writes in history:
        before, model = model, applied(model, writes)
        for one, kv in zip(states, stores, strict=True):
            change = one.plan(writes)
            kv.write(change.puts, change.deletes)
            one.adopt(change)
        plain, tree = states
        assert plain.root == tree.root == model_root(model)
        assert plain.get(key) == tree.get(key) == model.get(key)
        assert plain.many([key, b"", key]) == tree.many([key, b"", key])
        assert plain.prove(key) == tree.prove(key)
        back = [one.plan(undo(model, before)) for one in states]
        assert [change.root for change in back] == [model_root(before)] * 2
        assert plain.prove(key, back[0]) == tree.prove(key, back[1])
    assert list(stores[0].scan(b"s", b"t")) == list(stores[1].scan(b"s", b"t"))
    again = PlainState(stores[0], plain.root if history else ZERO_HASH)
    again.warm()
    assert again.prove(key) == states[0].prove(key)


def test_opening_at_another_root_is_refused() -> None:
    kv = MemoryKV()
    change = PlainState(kv).plan({b"a": b"1"})
    kv.write(change.puts)
    with pytest.raises(StoreCorruptError, match="Sync this node anew"):
        PlainState(kv)
    assert PlainState(kv, change.root).get(b"a") == b"1"


def test_the_tree_is_opened_unless_numpy_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(open_state(MemoryKV()), StateTree)

    def without_numpy(name: str) -> Any:
        return None if name == "numpy" else find_spec(name)

    monkeypatch.setattr(state, "find_spec", without_numpy)
    assert isinstance(open_state(MemoryKV()), PlainState)
