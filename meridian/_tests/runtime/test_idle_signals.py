"""Signals reach a run whose loop is asleep."""

import signal
import subprocess
import sys

import pytest

from meridian import Scheduler, graph, sink, source

GRAPH = """
import asyncio
from meridian import Scheduler, graph, sink, source

async def forever():
    yield "ready"
    await asyncio.Event().wait()

scheduler = Scheduler()
scheduler.register(graph("idle", source(forever) >> sink(lambda item: print(item, flush=True))))
try:
    scheduler.run()
except KeyboardInterrupt:
    print("interrupted")
print(scheduler.report().reason)
"""


@pytest.mark.req("V8")
@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as POSIX does")
@pytest.mark.parametrize(
    ("number", "said"), [(signal.SIGINT, "interrupted\nshutdown\n"), (signal.SIGTERM, "shutdown\n")]
)
def test_a_signal_stops_a_run_whose_loop_sleeps(number, said):
    with subprocess.Popen([sys.executable, "-c", GRAPH], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        try:
            out, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out) == (0, said)


class SignalledAtTheWorstMoment(Scheduler):
    """Gets SIGINT while its own thread holds the lock that `shutdown` takes."""

    armed = False

    @property
    def _run(self):
        return self.__dict__["now"]

    @_run.setter
    def _run(self, now):
        self.__dict__["now"] = now
        if type(self).armed and now is None:
            type(self).armed = False
            signal.raise_signal(signal.SIGINT)


def test_a_signal_that_comes_while_the_lock_is_held_does_not_deadlock():
    scheduler = SignalledAtTheWorstMoment()
    scheduler.register(graph("short", source(range(3)) >> sink(str)))
    SignalledAtTheWorstMoment.armed = True
    with pytest.raises(KeyboardInterrupt):
        scheduler.run()
    assert not scheduler.is_running()
    scheduler.run()  # the signal was for the first
    assert scheduler.report().reason == "finished"
