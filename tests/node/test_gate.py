"""The client port under bad clients: real sockets, real TLS, and a ledger service that answers anything."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result

from chain.genesis import dump_genesis
from gridbft import Client
from gridbft.errors import ClientError
from gridbft.requests import Limits
from gridbft.tls import Tls
from gridbft.v1 import client_pb2 as pb
from gridbft.v1 import client_pb2_grpc
from node import gate
from node.allowance import ClientLimits
from node.certs import TlsIdentity, certificate_digest, make_tls_identity, utc_now
from node.cli import main
from node.clienttls import ClientTls, ClientTlsError, fingerprints
from node.config import read_config
from node.connections import SETTLED_SECONDS
from node.gate import Gate, Pinned
from node.home import Home
from node.server import ClientServer
from tests.node.localnet import Localnet, running


@dataclass
class Ledger(client_pb2_grpc.LedgerServiceServicer):
    """Takes only transactions that begin as the tests' own do, refuses others as wrongly signed; counts what reached it."""

    seen: int = 0
    held: asyncio.Event = field(default_factory=asyncio.Event)

    async def Status(self, request: Any, context: Any) -> pb.StatusResponse:  # noqa: N802
        self.seen += 1
        return pb.StatusResponse(name="utility-1", chain_id="test")

    async def Query(self, request: Any, context: Any) -> pb.QueryResponse:  # noqa: N802
        self.seen += 1
        return pb.QueryResponse()

    async def Submit(self, request: Any, context: Any) -> pb.SubmitResponse:  # noqa: N802
        self.seen += 1
        return pb.SubmitResponse(verdict=_verdict(request.tx))

    async def SubmitBatch(self, requests: Any, context: Any) -> AsyncIterator[pb.SubmitBatchResponse]:  # noqa: N802
        async for request in requests:
            self.seen += len(request.txs)
            if request.txs[0] == b"slow":
                await self.held.wait()
            yield pb.SubmitBatchResponse(verdicts=[_verdict(tx) for tx in request.txs])

    async def Subscribe(self, request: Any, context: Any) -> AsyncIterator[pb.SubscribeResponse]:  # noqa: N802
        yield pb.SubscribeResponse(height=1)
        await self.held.wait()


def _verdict(tx: bytes) -> pb.Verdict:
    return pb.Verdict(code="" if tx.startswith((b"good", b"t", b"slow")) else "BAD_SIGNATURE")


@contextlib.asynccontextmanager
async def serving(
    limits: ClientLimits, tls: ClientTls | None = None, pinned: Pinned = lambda: None
) -> AsyncIterator[tuple[str, Ledger, Gate]]:
    ledger = Ledger()  # type: ignore[abstract]
    server = ClientServer(ledger, limits, tls, pinned)  # type: ignore[arg-type]
    port = await server.start("127.0.0.1:0")
    try:
        yield f"127.0.0.1:{port}", ledger, server.gate
    finally:
        ledger.held.set()
        await server.stop()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debts end in a refusal soon, so that no test has to wait for one."""
    monkeypatch.setattr(gate, "PATIENCE_SECONDS", 0.02)
    monkeypatch.setattr(gate, "HELD_SECONDS", 0.01)


async def _code(call: Any) -> tuple[grpc.StatusCode, str]:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""


def test_a_client_beyond_its_requests_is_told_the_limit_and_what_to_do() -> None:
    async def play() -> None:
        async with (
            serving(ClientLimits(requests_per_second=5)) as (address, ledger, door),
            grpc.aio.insecure_channel(address) as channel,
        ):
            stub: Any = client_pb2_grpc.LedgerServiceStub(channel)
            found = [await _code(stub.Status(pb.StatusRequest())) for _ in range(40)]
        refused = [text for code, text in found if code is grpc.StatusCode.RESOURCE_EXHAUSTED]
        assert 20 < len(refused) < 30
        assert ledger.seen == 40 - len(refused)
        assert "limit requests_per_second = 5: wait" in refused[0]
        assert "ask the operator for more ([limits] requests_per_second in its config.toml)" in refused[0]
        assert door.refused == {"requests_per_second": len(refused)}

    asyncio.run(play())


def test_wrong_signatures_use_up_an_allowance_of_their_own() -> None:
    async def play() -> None:
        async with (
            serving(ClientLimits(faults_per_second=10)) as (address, ledger, _),
            grpc.aio.insecure_channel(address) as channel,
        ):
            stub: Any = client_pb2_grpc.LedgerServiceStub(channel)
            codes = [(await _code(stub.Submit(pb.SubmitRequest(tx=b"x"))))[0] for _ in range(60)]
            good = await _code(stub.Submit(pb.SubmitRequest(tx=b"good")))
        assert codes[0] is grpc.StatusCode.OK
        assert codes[-1] is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert ledger.seen <= 25
        assert "faults_per_second" in good[1]

    asyncio.run(play())


def test_unreadable_requests_and_unknown_methods_are_answered_and_counted() -> None:
    async def play() -> None:
        async with (
            serving(ClientLimits(faults_per_second=1, requests_per_second=20)) as (address, ledger, door),
            grpc.aio.insecure_channel(address) as channel,
        ):
            ask = channel.unary_unary("/gridbft.v1.LedgerService/Submit", None, None)
            first = await _code(ask(b"\xff\xff\xff"))
            second = [(await _code(ask(b"\xff\xff\xff")))[0] for _ in range(5)]
            async with grpc.aio.insecure_channel(address) as channel:
                nothing = channel.unary_unary("/gridbft.v1.LedgerService/Nothing", None, None)
                codes = {(await _code(nothing(b"")))[0] for _ in range(60)}
        assert first == (grpc.StatusCode.INVALID_ARGUMENT, "the request is no message of this method")
        assert second[-1] is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert codes == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert ledger.seen == 0
        assert door.refused["unreadable"] >= 2

    asyncio.run(play())


def test_an_unknown_method_is_unimplemented() -> None:
    async def play() -> None:
        async with serving(ClientLimits()) as (address, _, _), grpc.aio.insecure_channel(address) as channel:
            code, _ = await _code(channel.unary_unary("/gridbft.v1.LedgerService/Nothing", None, None)(b""))
            assert code is grpc.StatusCode.UNIMPLEMENTED

    asyncio.run(play())


@pytest.mark.parametrize(
    ("limits", "batches", "name"),
    [
        (ClientLimits(batch_transactions=3), [[b"t"] * 4], "batch_transactions"),
        (ClientLimits(message_bytes=512 * 1024), [[b"t" * 600 * 1024]], "message_bytes"),
        (ClientLimits(transactions_per_second=10), [[b"t"] * 100, [b"t"]], "transactions_per_second"),
        (ClientLimits(bytes_per_second=64 * 1024), [[b"t" * 300 * 1024], [b"t"]], "bytes_per_second"),
        (ClientLimits(faults_per_second=1), [[b"x"] * 100, [b"t"]], "faults_per_second"),
    ],
)
def test_a_stream_meets_the_same_limits(limits: ClientLimits, batches: list[list[bytes]], name: str) -> None:
    async def play() -> None:
        async with serving(limits) as (address, _, _), grpc.aio.insecure_channel(address) as channel:
            stub: Any = client_pb2_grpc.LedgerServiceStub(channel)
            call = stub.SubmitBatch()
            try:
                for batch in batches:
                    await call.write(pb.SubmitBatchRequest(txs=batch))
                    answer = await call.read()
            except grpc.aio.AioRpcError:
                answer = None
            assert not isinstance(answer, pb.SubmitBatchResponse)
            assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert f"limit {name} =" in await call.details()

    asyncio.run(play())


def test_subscriptions_and_calls_are_bounded_and_free_again_when_they_end() -> None:
    async def play() -> None:
        async with (
            serving(ClientLimits(subscriptions=2)) as (address, _, door),
            grpc.aio.insecure_channel(address) as channel,
        ):
            stub: Any = client_pb2_grpc.LedgerServiceStub(channel)
            streams = [stub.Subscribe(pb.SubscribeRequest()) for _ in range(2)]
            for stream in streams:
                await stream.read()
            third = stub.Subscribe(pb.SubscribeRequest())
            assert await third.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "limit subscriptions = 2" in await third.details()
            streams[0].cancel()
            while door.refused.get("subscriptions", 0) < 50:  # the server learns of it in its own time
                again = stub.Subscribe(pb.SubscribeRequest())
                with contextlib.suppress(grpc.aio.AioRpcError):
                    if isinstance(await again.read(), pb.SubscribeResponse):
                        return
            raise AssertionError("a place never became free")

    asyncio.run(play())


def test_a_batch_that_takes_long_leaves_places_for_others_and_gives_its_own_back() -> None:
    async def play() -> None:
        async with (
            serving(ClientLimits()) as (address, ledger, _),
            grpc.aio.insecure_channel(address) as channel,
        ):
            stub: Any = client_pb2_grpc.LedgerServiceStub(channel)
            slow = [stub.SubmitBatch() for _ in range(gate.CHECKED_AT_ONCE + 3)]
            for call in slow:
                await call.write(pb.SubmitBatchRequest(txs=[b"slow"]))
            while ledger.seen < gate.CHECKED_AT_ONCE:  # noqa: ASYNC110 - the server's own progress has no event
                await asyncio.sleep(0)
            status = await _code(stub.Status(pb.StatusRequest()))
            assert status[0] is grpc.StatusCode.OK
            assert ledger.seen == gate.CHECKED_AT_ONCE + 1  # the others wait for their turn
            slow[-1].cancel()
            ledger.held.set()
            for call in slow[:-1]:
                assert isinstance(await call.read(), pb.SubmitBatchResponse)

    asyncio.run(play())


def test_a_turn_that_comes_to_a_client_who_has_just_gone_passes_on() -> None:
    async def play() -> None:
        door = Gate(ClientLimits())
        for _ in range(gate.CHECKED_AT_ONCE):
            await door._begin_check("first")
        gone, waiting = (asyncio.create_task(door._begin_check(c)) for c in ("gone", "waiting"))
        await asyncio.sleep(0)
        door._end_check()  # the turn is given to the first of them, who has not seen it yet
        gone.cancel()
        async with asyncio.timeout(5):
            await waiting
        for _ in range(gate.CHECKED_AT_ONCE):
            door._end_check()
        assert door._checking == 0

    asyncio.run(play())


# --- TLS


@pytest.fixture
def pair(tmp_path: Path) -> tuple[ClientTls, TlsIdentity]:
    identity = make_tls_identity("node", utc_now())
    (tmp_path / "tls.crt").write_text(identity.certificate)
    (tmp_path / "tls.key").write_text(identity.private_key)
    return ClientTls(tmp_path / "tls.crt", tmp_path / "tls.key"), identity


async def _status(address: str, tls: Tls | None) -> str:
    async with Client(address, tls=tls, limits=Limits(request_s=5.0)) as client:
        return (await client.status()).name


def _believes(node: TlsIdentity, own: TlsIdentity | None = None) -> Tls:
    shown = (None, None) if own is None else (own.certificate.encode(), own.private_key.encode())
    return Tls(node.certificate.encode(), "peer.gridbft", *shown)


def test_tls_serves_those_who_know_the_node_and_nobody_in_plain_text(pair: tuple[ClientTls, TlsIdentity]) -> None:
    tls, identity = pair

    async def play() -> None:
        async with serving(ClientLimits(), tls) as (address, _, door):
            assert await _status(address, _believes(identity)) == "utility-1"
            for wrong in (None, _believes(make_tls_identity("other", utc_now())), Tls(identity.certificate.encode())):
                with pytest.raises(ClientError):
                    await _status(address, wrong)
            seen = door._connections
            assert seen is not None
            seen.look(0.0)
            seen.look(SETTLED_SECONDS)
            assert seen.total == seen.without_call + 1 >= 4

    asyncio.run(play())


def test_client_certificates_are_asked_for_and_the_list_is_read_again(
    pair: tuple[ClientTls, TlsIdentity], tmp_path: Path
) -> None:
    tls, node = pair
    alice, bob, mallory = (make_tls_identity(name, utc_now()) for name in ("alice", "bob", "mallory"))
    (tmp_path / "clients.pem").write_text(alice.certificate + bob.certificate)
    listed = tmp_path / "fingerprints"
    listed.write_text(f"# let in\n{certificate_digest(alice.certificate).hex()}  # alice\n")
    asking = ClientTls(tls.certificate, tls.key, tmp_path / "clients.pem")

    async def play() -> None:
        async with serving(ClientLimits(), asking, fingerprints(listed)) as (address, _, door):
            assert await _status(address, _believes(node, alice)) == "utility-1"
            for stranger in (_believes(node), _believes(node, mallory)):
                with pytest.raises(ClientError):
                    await _status(address, stranger)
            with pytest.raises(ClientError, match=r"yours .* is not among them: ask its operator"):
                await _status(address, _believes(node, bob))
            assert door.refused == {"client_fingerprints": 1}
            colons = certificate_digest(bob.certificate).hex(":").upper()
            listed.write_text(colons + "\n" + "00" * 32 + "\n")
            assert await _status(address, _believes(node, bob)) == "utility-1"
            with pytest.raises(ClientError, match="not among them"):
                await _status(address, _believes(node, alice))
            listed.write_text("nonsense")  # what was read before stays in force
            assert await _status(address, _believes(node, bob)) == "utility-1"

    asyncio.run(play())


def test_files_of_tls_that_are_missing_or_wrong_are_one_sentence(
    pair: tuple[ClientTls, TlsIdentity], tmp_path: Path
) -> None:
    tls, _ = pair
    with pytest.raises(ClientTlsError, match="cannot be read"):
        ClientTls(tmp_path / "none", tls.key).credentials()
    with pytest.raises(ClientTlsError, match="no PEM certificate"):
        ClientTls(tls.key, tls.key).credentials()
    (tmp_path / "list").write_text("\nabc\n")
    with pytest.raises(ClientTlsError, match="line 2: expected a SHA-256"):
        fingerprints(tmp_path / "list")


def test_a_whole_node_serves_tls_to_clients_that_know_its_genesis(tmp_path: Path) -> None:
    net = Localnet.make(tmp_path, 1)
    home = Home(net.homes[0])
    home.config.write_text(home.config.read_text().replace("tls = false", "tls = true"))
    genesis = dump_genesis(net.genesis)

    def status(*words: str) -> Result:
        nodes = read_config(home.config).client_address
        return CliRunner().invoke(main, ["status", "--nodes", nodes, "--genesis", str(home.genesis), "--json", *words])

    async def play() -> None:
        async with running(*net.homes) as (node,):
            address = node.node.config.client_address
            assert await _status(address, Tls.of_genesis(genesis)) == "node-0"
            with pytest.raises(ClientError):
                await _status(address, None)
            assert (await asyncio.to_thread(status, "--tls")).exit_code == 0
            assert (await asyncio.to_thread(status)).exit_code == 1
            wrong = await asyncio.to_thread(status, "--tls-ca", str(tmp_path / "none"))
            assert (wrong.exit_code, "cannot be read" in wrong.output) == (2, True)

    asyncio.run(play())


def test_a_renewed_certificate_is_shown_to_new_sessions_without_a_restart(
    pair: tuple[ClientTls, TlsIdentity], tmp_path: Path
) -> None:
    tls, old = pair

    async def play() -> None:
        async with serving(ClientLimits(), tls) as (address, _, _):
            assert await _status(address, _believes(old)) == "utility-1"
            new = make_tls_identity("renewed", utc_now())
            (tmp_path / "tls.crt").write_text(new.certificate)
            (tmp_path / "tls.key").write_text(new.private_key)
            assert await _status(address, _believes(new)) == "utility-1"
            with pytest.raises(ClientError):
                await _status(address, _believes(old))
            (tmp_path / "tls.key").unlink()  # a renewal that is half done keeps what was read before
            assert await _status(address, _believes(new)) == "utility-1"

    asyncio.run(play())
