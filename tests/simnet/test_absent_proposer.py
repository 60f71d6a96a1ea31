"""A proposer that died, or that nobody is connected to, stops the chain once and for no longer than votes are waited for."""

from __future__ import annotations

import pytest

from consensus.types import ValidatorId
from devnet.simnet.machine import Machine
from devnet.simnet.town import town_of
from devnet.simnet.world import REPLICA, Options, World

VALIDATORS = 4
VOTES_MS = REPLICA.timeouts.prevote_ms
NEAR_MS = 150  # messages of a height and more: one takes up to 10 ms
LIMIT_MS = 60_000


class Busy(World):
    """A chain some heights long, with clients that never rest."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, Options(validators=VALIDATORS), town_of(VALIDATORS))
        self.submitted = 0
        for machine in self.machines:
            machine.start()
        self.waits_of_heights(6)

    def when_halted(self, machine: Machine) -> None:
        """It stays down."""

    def by_id(self, validator: ValidatorId) -> Machine:
        return next(m for m in self.machines if m.id == validator)

    def waits_of_heights(self, heights: int) -> list[int]:
        """How long each of the next heights takes, in virtual ms."""
        took: list[int] = []
        chain = self.checkers.chain
        begun_ms, before = self.now_ms, len(chain)
        while len(took) < heights and self.now_ms < LIMIT_MS:
            if self.now_ms % 20 == 0:
                self.submit(self.submitted)
                self.submitted += 1
            self.run_until(self.now_ms + 5)
            for _ in range(len(chain) - before):
                took.append(self.now_ms - begun_ms)
                begun_ms = self.now_ms
            before = len(chain)
        assert not self.checkers.violations, self.checkers.violations
        return took[:heights]


@pytest.mark.parametrize("seed", range(8))
def test_a_killed_validator_costs_one_wait_as_long_as_votes_get(seed: int) -> None:
    world = Busy(seed)
    turns = world.machines[0].ledger.system.turns.order  # of the height at hand, whose proposal may be on its way
    world.by_id(turns[1 + seed % (VALIDATORS - 1)]).cut_power()
    waits = sorted(world.waits_of_heights(3 * VALIDATORS))
    assert len(waits) == 3 * VALIDATORS
    assert VOTES_MS < waits[-1] < VOTES_MS + NEAR_MS
    assert waits[-2] < VOTES_MS


@pytest.mark.parametrize("seed", range(4))
def test_one_whose_lines_are_cut_is_as_good_as_dead_once_that_is_noticed(seed: int) -> None:
    cut = {(a, b) for a in range(VALIDATORS) for b in range(VALIDATORS) if seed in (a, b) and a != b}
    longest: dict[bool, int] = {}
    for notices in (True, False):
        world = Busy(seed)
        world.notices = notices
        world.sever(cut)
        longest[notices] = max(world.waits_of_heights(VALIDATORS))
    assert VOTES_MS < longest[True] < VOTES_MS + NEAR_MS
    assert longest[False] > REPLICA.timeouts.propose_ms


@pytest.mark.parametrize("seed", range(4))
def test_while_one_line_of_six_is_cut_few_turns_are_lost(seed: int) -> None:
    """What one end lacks comes from the others, somewhat later; it may miss a turn of its own for that."""
    world = Busy(seed)
    world.notices = True
    first, second = seed % VALIDATORS, (seed + 1) % VALIDATORS
    world.sever({(first, second), (second, first)})
    waits = world.waits_of_heights(5 * VALIDATORS)
    assert max(waits) < REPLICA.timeouts.propose_ms + NEAR_MS
    assert sum(wait > VOTES_MS for wait in waits) <= 4
    assert [len(m.replica.peers) for m in world.machines].count(VALIDATORS - 2) == 2
    world.mend()
    assert all(len(m.replica.peers) == VALIDATORS - 1 for m in world.machines)
    world.waits_of_heights(VALIDATORS)
    assert max(world.waits_of_heights(2 * VALIDATORS)) < VOTES_MS
