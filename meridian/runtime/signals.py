"""SIGINT and SIGTERM: the first asks for a stop in good order, the second SIGINT interrupts whatever runs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


@contextmanager
def stop_on_signals(stop: Callable[[], object]) -> Generator[list[int], None, None]:
    """Call ``stop`` on SIGINT or SIGTERM; yields the list of signals that came.

    Does nothing outside the main thread of the main interpreter, where Python delivers no signals, and leaves alone a handler that somebody
    else has installed for SIGTERM. Handlers are restored at the end.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        if number == signal.SIGINT and number in came:
            raise KeyboardInterrupt
        came.append(number)
        stop()

    try:
        before = {signal.SIGINT: signal.signal(signal.SIGINT, handle)}
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            before[signal.SIGTERM] = signal.signal(signal.SIGTERM, handle)
    except ValueError:  # only the main interpreter may
        before = {}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
