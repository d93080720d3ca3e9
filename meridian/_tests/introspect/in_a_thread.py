"""A run in a thread of its own, for tests that look from outside."""

import asyncio
import threading
from contextlib import contextmanager

from meridian import Scheduler, SchedulerConfig, graph, sink, via
from meridian.core.function import Inlet

PATIENT_S = 60.0
"""A loaded machine may take long; nothing here waits for that to pass."""


@contextmanager
def running(handle=lambda _: None, *, feed=(), abort=False, name="out", policy=None, **settings):
    """A run in a thread of its own that goes on until the block is left; `name` is that of its sink, `policy` that of its edge."""
    inlet = Inlet("in")
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0), **settings)
    scheduler.register(graph("g", inlet >> via(capacity=4, policy=policy) >> sink(handle, name=name)))
    begun = threading.Event()
    loops = []

    async def main():
        loops.append(asyncio.get_running_loop())
        task = asyncio.create_task(scheduler.run_async())
        await asyncio.sleep(0)
        for item in feed:
            await inlet.put(item)
        begun.set()
        await task

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert begun.wait(PATIENT_S)
    try:
        yield scheduler
    finally:
        if abort:
            scheduler.shutdown()
        else:
            loops[0].call_soon_threadsafe(inlet.close)
        thread.join(PATIENT_S)
        assert not thread.is_alive()
