"""Somebody who looks while a run goes on, in virtual time."""

import asyncio

from meridian.testing.clock import VirtualLoop


def run_beside(scheduler, beside):
    """Run ``scheduler`` on a virtual loop next to the coroutine ``beside``; return what that returns."""

    async def both():
        scheduler._clock = asyncio.get_running_loop().clock
        run = asyncio.create_task(scheduler.run_async())
        try:
            return await beside()
        finally:
            scheduler.shutdown()
            await run

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(both())
