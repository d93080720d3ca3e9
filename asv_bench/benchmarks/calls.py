"""Single calls, without a run or within a handler."""

import asyncio

from ._engine import ENGINES, workloads_on


class Calls:
    params = ENGINES
    param_names = ("engine",)
    unit = "ns"

    def setup(self, engine: str) -> None:
        self.workloads = workloads_on(engine)

    def track_put_and_get(self, engine: str) -> float:
        return asyncio.run(self.workloads.put_and_get(15_000))

    def track_message(self, engine: str) -> float:
        return asyncio.run(self.workloads.messages_made(50_000))

    def track_emit(self, engine: str) -> float:
        return asyncio.run(self.workloads.emitted(50_000))
