"""A stop always comes to an end, and says what it waited for."""

from __future__ import annotations

import subprocess
import sys
import threading

from node.cli.ending import WAITED_IN_VAIN, Ending, waiting

STUCK = """\
import asyncio, sys, threading
from node.cli.ending import Ending

async def serve(ending):
    stuck = asyncio.ensure_future(asyncio.to_thread(threading.Event().wait))
    await asyncio.sleep(0)
    ending.begin()
    await stuck

with Ending(0.2) as ending:
    asyncio.run(serve(ending))
"""


def test_a_thread_that_never_returns_holds_up_no_stop_and_is_named() -> None:
    ran = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=60)
    assert ran.returncode == WAITED_IN_VAIN
    assert "asyncio_0 in threading.wait" in ran.stderr
    assert "more than 0.2 s" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_who_ends_in_time_is_left_alone() -> None:
    ended: list[str] = []
    with Ending(3_600.0, ended.append) as ending:
        ending.begin()
        ending.begin()
        timers = [t for t in threading.enumerate() if isinstance(t, threading.Timer)]
        assert len(timers) == 1
    timers[0].join(20)
    assert not timers[0].is_alive()
    assert ended == []


def test_who_was_never_told_to_stop_has_no_deadline() -> None:
    before = threading.active_count()
    with Ending(0.0, lambda sentence: None):
        assert threading.active_count() == before


def test_a_thread_is_told_by_the_innermost_call_of_this_program() -> None:
    leave, inside = threading.Event(), threading.Event()

    def stuck(sentence: str) -> None:
        inside.set()
        leave.wait(20)

    ending = Ending(0.0, stuck)
    ending.begin()
    assert inside.wait(20)
    try:
        assert "node.cli.ending._over" in waiting()
    finally:
        leave.set()
