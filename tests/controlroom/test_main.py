"""The command line, and a control room that follows nodes whose client ports speak TLS."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chain.genesis import dump_genesis
from controlroom.__main__ import _parser, assemble, main
from controlroom.feed import Feed
from node.config import read_config
from node.home import Home
from tests.node.localnet import Localnet, running, until


@pytest.fixture
def net(tmp_path: Path) -> Localnet:
    """One node, not running, whose client port speaks TLS."""
    made = Localnet.make(tmp_path, 1)
    config = Home(made.homes[0]).config
    config.write_text(config.read_text().replace("tls = false", "tls = true"))
    return made


def words(net: Localnet, *more: str) -> list[str]:
    home = Home(net.homes[0])
    return ["--nodes", read_config(home.config).client_address, "--genesis", str(home.genesis), *more]


async def answers(feed: Feed) -> bool:
    """Runs the feed until its node has told a block, or cannot be spoken with."""
    task = asyncio.create_task(feed.run())
    try:
        await until(lambda: feed.nodes[0].status is not None or bool(feed.nodes[0].error))
        if not feed.nodes[0].error:
            await until(lambda: feed.model.height > 0)
        return not feed.nodes[0].error
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_a_control_room_follows_nodes_that_speak_tls_and_believes_no_others(net: Localnet, tmp_path: Path) -> None:
    others = Localnet.make(tmp_path / "others", 1)
    (tmp_path / "others.json").write_text(dump_genesis(others.genesis))

    async def heard(*arguments: str) -> bool:
        return await answers(assemble(_parser().parse_args(list(arguments))).room.feed)

    async def play() -> None:
        async with running(*net.homes):
            assert await heard(*words(net, "--tls"))
            assert not await heard(*words(net))
            address = words(net)[:2]
            assert not await heard(*address, "--genesis", str(tmp_path / "others.json"), "--tls")

    asyncio.run(play())


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--tls"], "--tls needs to know"),
        (["--tls-ca", "none.pem"], "none.pem"),
        (["--genesis", "none.json"], "none.json"),
        (["--feeder", "none"], "none"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    more: list[str], complaint: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--nodes", "127.0.0.1:1", *more]) == 2
    told = capsys.readouterr().err
    assert complaint in told
    assert "Traceback" not in told
    assert len(told.splitlines()) == 1
