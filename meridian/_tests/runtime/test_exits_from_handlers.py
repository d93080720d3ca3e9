"""What breaks the event loop, KeyboardInterrupt and SystemExit, also ends the run."""

import asyncio

import pytest

from meridian import Scheduler, graph, sink, source


@pytest.mark.req("V8")
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_no_handler_runs_after_one_that_broke_the_loop(kind):
    seen = []

    def leave(item):
        seen.append(item)
        raise kind

    scheduler = Scheduler()
    scheduler.register(graph("leaving", source(range(5)) >> sink(leave)))
    with pytest.raises(kind), asyncio.Runner() as runner:
        runner.run(scheduler.run_async())
    report = scheduler.report()
    assert seen == [0]
    assert (report.status, report.reason) == ("stopped", "cancelled")
