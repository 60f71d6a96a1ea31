"""Wires that are cut and healed, faults from a seed, what counts as a stall or a loss, and a short run on real processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import islice, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devnet.chaos import Options, Run, main
from devnet.chaos_check import Chain, doubled_of, forks_of, lost_of, read_chain, wrong_balances
from devnet.chaos_plan import NODES, TOGETHER, Fault, Kind, Round, Span, longest_stall, rounds
from devnet.chaos_site import Site, wipe_disk
from devnet.chaos_traffic import Place
from devnet.network import create_network
from devnet.proxy import ESTABLISHED, UNREACHABLE, Wires
from gridbft import Client
from gridbft.v1 import chain_pb2
from node.home import Home, load_home

PATIENCE_S = 20.0
RUN_S = 120.0  # four processes on a busy machine; an idle one needs a tenth

# --- wires ------------------------------------------------------------------------------------------------------------


class Ends:
    """A caller `a` and an echo at `b`, joined by wires."""

    def __init__(self, wires: Wires, address: str) -> None:
        self.wires = wires
        self.address = address

    async def call(
        self, who: str = "a", request: str | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.wires.ports[who])
        writer.write((request or f"CONNECT {self.address} HTTP/1.1\r\nHost: {self.address}\r\n\r\n").encode())
        return reader, writer


@asynccontextmanager
async def _ends() -> AsyncIterator[Ends]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1024):
            writer.write(data.upper())
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Wires({"a": "127.0.0.1:1", "b": f"127.0.0.1:{port}"}) as wires:
        yield Ends(wires, f"127.0.0.1:{port}")
    server.close()


def _with_ends(scenario: Callable[[Ends], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(PATIENCE_S), _ends() as ends:
            await scenario(ends)

    asyncio.run(whole())


async def _passes(reader: asyncio.StreamReader, count: int, patience_s: float = 0.1) -> bool:
    """Whether that many bytes come; none are taken where they do not."""
    try:
        async with asyncio.timeout(patience_s):
            await reader.readexactly(count)
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("way", [("a", "b"), ("b", "a")])
def test_what_is_sent_over_a_cut_way_waits_and_arrives_whole_after_it_heals(way: tuple[str, str]) -> None:
    async def scenario(ends: Ends) -> None:
        reader, writer = await ends.call()
        await reader.readexactly(len(ESTABLISHED))
        writer.write(b"one")
        assert await reader.readexactly(3) == b"ONE"
        ends.wires.cut([way])
        writer.write(b"two")
        assert not await _passes(reader, 3)
        ends.wires.heal()
        assert await reader.readexactly(3) == b"TWO"

    _with_ends(scenario)


def test_a_call_over_a_silent_cut_is_answered_after_it_heals() -> None:
    async def scenario(ends: Ends) -> None:
        ends.wires.cut([("b", "a")])
        reader, _ = await ends.call()
        assert not await _passes(reader, 1)
        ends.wires.heal([("b", "a")])
        assert await reader.readexactly(len(ESTABLISHED)) == ESTABLISHED

    _with_ends(scenario)


def test_a_refusing_cut_ends_calls_and_turns_new_ones_away() -> None:
    async def scenario(ends: Ends) -> None:
        reader, _ = await ends.call()
        await reader.readexactly(len(ESTABLISHED))
        ends.wires.cut([("a", "b")], refuse=True)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(1)
        again, _ = await ends.call()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await again.readexactly(1)
        ends.wires.heal()
        healed, _ = await ends.call()
        assert await healed.readexactly(len(ESTABLISHED)) == ESTABLISHED

    _with_ends(scenario)


@pytest.mark.parametrize("request_line", ["CONNECT 127.0.0.1:9 HTTP/1.1", "GET / HTTP/1.1", "CONNECT", ""])
def test_a_wire_leads_to_the_nodes_and_nowhere_else(request_line: str) -> None:
    async def scenario(ends: Ends) -> None:
        reader, _ = await ends.call(request=f"{request_line}\r\n\r\n")
        assert await reader.read() == UNREACHABLE

    _with_ends(scenario)


# --- the plan ---------------------------------------------------------------------------------------------------------


def _first(seed: int, count: int) -> list[Round]:
    return list(islice(rounds(seed), count))


@given(st.integers(0, 2**32))
def test_a_seed_gives_the_same_faults_and_one_bag_holds_every_kind(seed: int) -> None:
    bag = _first(seed, len(Kind) + 2)
    assert bag == _first(seed, len(Kind) + 2)
    assert {r[0].kind for r in bag if len(r) == 1} == set(Kind)


@given(st.integers(0, 2**32))
def test_two_at_once_strike_different_nodes_and_never_make_one_forget(seed: int) -> None:
    for faults in _first(seed, 20):
        assert len({fault.node for fault in faults}) == len(faults) <= 2
        assert len(faults) == 1 or all(fault.kind in TOGETHER for fault in faults)


@given(st.integers(0, 2**32))
def test_a_cut_goes_somewhere_and_leaves_out_its_own_node(seed: int) -> None:
    for fault in (fault for faults in _first(seed, 20) for fault in faults):
        assert (fault.kind is Kind.CUT) == bool(fault.others) == (fault.inward or fault.outward)
        assert fault.node not in fault.others
        assert set(fault.others) <= set(range(NODES))
        assert str(fault.node) in str(fault)


# --- stalls -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("faulty", "expected"),
    [
        ([], Span(2, 10)),
        ([Span(0, 20)], Span(2, 10)),  # one faulty node is no excuse
        ([Span(2, 4), Span(4, 10)], Span(2, 10)),  # nor are two, one after the other
        ([Span(2, 4), Span(3, 9)], Span(4, 10)),
        ([Span(0, 5), Span(1, 5)], Span(5, 10)),  # from when only one is faulty, time counts
        ([Span(0, 20), Span(0, 20)], Span(0, 0)),
        ([Span(0, 9), Span(4, 12), Span(6, 7)], Span(2, 4)),
    ],
)
def test_a_stall_is_time_without_a_block_while_at_most_one_node_was_faulty(faulty: list[Span], expected: Span) -> None:
    assert longest_stall([2.0, 10.0], faulty) == expected


_TIMES = st.floats(0, 100, allow_nan=False)
_SPANS = st.tuples(_TIMES, _TIMES).map(lambda pair: Span(*sorted(pair)))


@given(st.lists(_TIMES, min_size=2).map(sorted), st.lists(_SPANS, max_size=5))
def test_a_stall_lies_between_two_blocks_and_no_two_faults_reach_into_it(
    decided: list[float], faulty: list[Span]
) -> None:
    stall = longest_stall(decided, faulty)
    assert stall.end - stall.begin <= max(b - a for a, b in pairwise(decided))
    middle = (stall.begin + stall.end) / 2
    assert stall.begin == stall.end or sum(span.begin < middle < span.end for span in faulty) <= 1


# --- the judgement ----------------------------------------------------------------------------------------------------

_PLACE = Place(1, 0, True)
_GOOD = Chain(1, ("x", "y"), {"t": ((1, 0),)})
_GOOD_RECEIPTS = {"t": _PLACE}


def test_one_chain_with_everything_once_is_good() -> None:
    two = [_GOOD, _GOOD]
    assert lost_of({"t": _PLACE}, two, [_GOOD_RECEIPTS] * 2) == set()
    assert doubled_of({"t": _PLACE}, two, [_GOOD_RECEIPTS] * 2) == set()
    assert forks_of(two, {1: {"x"}, 2: {"y"}}) == ()


def test_a_transaction_that_one_node_does_not_have_is_lost() -> None:
    assert lost_of({"t": _PLACE}, [_GOOD, Chain(1, ("x", "y"), {})], [_GOOD_RECEIPTS] * 2) == {"t"}
    assert lost_of({"t": _PLACE}, [_GOOD, _GOOD], [_GOOD_RECEIPTS, {}]) == {"t"}


def test_a_node_that_began_from_a_snapshot_need_not_hold_what_was_before() -> None:
    late = Chain(2, ("y",), {})
    assert lost_of({"t": _PLACE}, [_GOOD, late], [_GOOD_RECEIPTS, {}]) == set()
    assert lost_of({"t": _PLACE}, [late, late], [{}, {}]) == {"t"}
    assert forks_of([_GOOD, late], {}) == ()
    assert forks_of([_GOOD, Chain(2, ("z",), {})], {}) == (2,)


def test_a_transaction_in_two_blocks_or_with_two_outcomes_is_doubled() -> None:
    twice = Chain(1, ("x", "y"), {"t": ((1, 0), (2, 0))})
    assert doubled_of({"t": _PLACE}, [_GOOD, twice], [_GOOD_RECEIPTS] * 2) == {"t"}
    assert doubled_of({"t": _PLACE}, [_GOOD] * 2, [_GOOD_RECEIPTS, {"t": Place(1, 0, False)}]) == {"t"}
    elsewhere = Chain(1, ("x", "y"), {"t": ((2, 0),)})
    assert doubled_of({"t": _PLACE}, [_GOOD, elsewhere], [_GOOD_RECEIPTS] * 2) == {"t"}


def test_two_blocks_at_one_height_are_a_fork_also_when_one_was_only_announced() -> None:
    assert forks_of([_GOOD, Chain(1, ("x", "z"), {})], {}) == (2,)
    assert forks_of([_GOOD, _GOOD], {1: {"x", "w"}}) == (1,)


class _Pruned:
    """A node that holds two blocks from height 5 on: the first one with a transaction, the second with evidence."""

    async def status(self) -> SimpleNamespace:
        return SimpleNamespace(earliest_height=5)

    async def block(self, height: int) -> SimpleNamespace:
        evidence = [b"two votes"] if height == 6 else []
        raw = chain_pb2.Block(header=b"header", evidence=evidence).SerializeToString()
        return SimpleNamespace(block_id=f"id {height}", tx_ids=("t",) if height == 5 else (), raw=raw)


def test_a_chain_is_read_from_what_a_node_holds_and_says_who_was_accused() -> None:
    chain = asyncio.run(read_chain(cast(Client, _Pruned()), 6))
    assert chain == Chain(5, ("id 5", "id 6"), {"t": ((5, 0),)}, (6,))


def test_a_balance_says_when_a_transfer_happened_twice_or_not_at_all() -> None:
    assert wrong_balances({"p": 7}, [{"p": 7}, {"p": 7}]) == (set(), set())
    assert wrong_balances({"p": 7}, [{"p": 7}, {"p": 6}]) == ({"p"}, set())
    assert wrong_balances({"p": 7}, [{"p": 9}, {"p": 7}]) == (set(), {"p"})


# --- real processes -----------------------------------------------------------------------------------------------------


def test_a_wiped_disk_keeps_what_the_operator_put_there(tmp_path: Path) -> None:
    node = create_network(tmp_path / "net", 1, 7101).nodes[0]
    home = Home(node.home)
    home.db.mkdir()
    (home.db / "CURRENT").write_text("x", encoding="ascii")
    home.wal.write_bytes(b"x")
    home.guard.write_bytes(b"x")
    wipe_disk(node)
    assert [path for path in (home.db, home.wal, home.guard) if path.exists()] == []
    assert load_home(node.home).member is not None


def test_wrong_kinds_of_faults_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--faults", "kill,flood"])
    assert "known are kill, stop, cut, wipe, full_disk" in capsys.readouterr().err


class _ThisPlan(Run):
    """Two rounds that are not left to chance, and no longer rests."""

    async def _strike_until_time(self) -> None:
        for faults in (
            (Fault(Kind.KILL, 0, 0.5),),
            (Fault(Kind.CUT, 2, 1.5, (0, 1, 3), inward=True, outward=True, refuse=True),),
        ):
            await self.strike(faults)


def test_a_killed_and_a_cut_off_node_cost_no_acknowledged_transaction(tmp_path: Path) -> None:
    async def whole() -> None:
        async with asyncio.timeout(RUN_S), Site(tmp_path / "net") as site:
            run = _ThisPlan(site, Options(minutes=1, seed=1, rate_per_s=20.0))
            outcome = await run.whole()
            assert outcome.good, outcome
            assert outcome.acknowledged > 20
            assert outcome.faults == {"kill": 1, "cut": 1}
            pids.extend(pid for place in range(NODES) if (pid := site.pid(place)) is not None)

    pids: list[int] = []
    asyncio.run(whole())
    assert len(pids) == NODES
    assert not any(_runs(pid) for pid in pids)


def _runs(pid: int) -> bool:
    """A process that ended and was not yet buried does not count."""
    try:
        return b"gridbft" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
