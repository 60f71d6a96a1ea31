"""A stop that takes an end: what a process still waits for after a while is told, and the process ends without it.

Everything that a node promised is on its disk before it is promised, so that to end in the middle is as safe as a crash.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

STOP_SECONDS = 12.0
"""Longer than an orderly stop of a loaded node (under 5 s), shorter than what the systemd unit allows (15 s)."""

WAITED_IN_VAIN = 1


def end_process(sentence: str) -> None:
    """Without the interpreter's own end: that waits for the very threads that do not return."""
    os.write(sys.stderr.fileno(), f"Error: {sentence}\n".encode())
    os._exit(WAITED_IN_VAIN)


class Ending:
    """Around the whole run of a process. `begin` is called when it is told to stop; who has not left the block
    `seconds` later is ended by `end`, which is given a sentence and called in a thread of its own."""

    def __init__(self, seconds: float = STOP_SECONDS, end: Callable[[str], None] = end_process) -> None:
        self._seconds = seconds
        self._end = end
        self._timer: threading.Timer | None = None

    def begin(self) -> None:
        """Again and again is once: an operator's second SIGTERM gives no more time."""
        if self._timer is None:
            self._timer = threading.Timer(self._seconds, self._over)
            self._timer.daemon = True
            self._timer.start()

    def __enter__(self) -> Ending:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _over(self) -> None:
        self._end(f"the stop took more than {self._seconds:g} s and was cut short; what was waited for: {waiting()}")


def waiting() -> str:
    """Where every thread but this one stands."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    own = threading.get_ident()
    frames = sys._current_frames()
    return "; ".join(f"{names.get(i, 'a thread')} in {_place(frame)}" for i, frame in frames.items() if i != own)


def _place(frame: FrameType) -> str:
    """The innermost call of this program; outside of it, the innermost of all."""
    found: FrameType | None = frame
    while found is not None:
        module = str(found.f_globals.get("__name__", ""))
        if module.partition(".")[0] in ("node", "chain", "consensus", "contracts", "gridbft"):
            return f"{module}.{found.f_code.co_name}"
        found = found.f_back
    return f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_name}"
