"""Two of four validators lose their disks at a moment that a seed chooses: the chain goes on, and nobody signs twice."""

from __future__ import annotations

import pytest

from consensus.types import Proposal, Vote
from devnet.simnet.machine import Machine
from devnet.simnet.schedule import conclude
from devnet.simnet.town import town_of
from devnet.simnet.world import Options, World
from node.signer import FileSigner, Position, Refused, position_of, sign_bytes_of

SEEDS = 25
OPTIONS = Options(validators=4, heights=4, transactions=6, chaos_ms=3_000)


def play(seed: int, wiped: int) -> World:
    """All run; then `wiped` of them lose power and everything on their disks, and start anew. Then calm, and judgement."""
    world = World(seed, OPTIONS, town_of(4))
    signed: dict[tuple[int, Position], set[bytes]] = {}
    opened = world.open_signer

    def watched(machine: Machine, has_chain: bool) -> FileSigner:
        signer = opened(machine, has_chain)
        sign = signer.sign

        def recording(message: Vote | Proposal) -> Vote | Proposal | Refused:
            assert not machine.replica._caution.is_silent(message.height), (seed, message)
            answer = sign(message)
            if not isinstance(answer, Refused):
                seen = sign_bytes_of(world.genesis.chain_id, answer)
                signed.setdefault((machine.index, position_of(answer)), set()).add(seen)
            return answer

        signer.sign = recording  # type: ignore[method-assign]
        return signer

    world.open_signer = watched  # type: ignore[method-assign]
    for machine in world.machines:
        machine.start()
    for number in range(OPTIONS.transactions):
        world.after(world.random.randint(0, OPTIONS.chaos_ms), world.submit, number)
    world.run_until(world.random.randint(500, OPTIONS.chaos_ms), lambda: max(world.checkers.chain, default=0) >= 2)
    world.run_until(world.now_ms + world.random.randint(0, 400))
    for machine in world.random.sample(world.machines, wiped):
        machine.cut_power()
        machine.disk.wipe()
    outcome = conclude(world)
    assert outcome.violations == (), (seed, outcome.violations)
    twice = [key for key, messages in signed.items() if len(messages) > 1]
    assert twice == [], (seed, twice)
    return world


@pytest.mark.parametrize("wiped", [1, 2])
def test_wiped_validators_rejoin_and_never_contradict_what_they_forgot(wiped: int) -> None:
    for seed in range(SEEDS):
        world = play(seed, wiped)
        assert max(world.checkers.chain) >= OPTIONS.heights
