"""W2: one source, eight branches, one sum."""

import asyncio

from ._engine import ENGINES, workloads_on


class Fan:
    params = ENGINES
    param_names = ("engine",)
    number = 1

    def setup(self, engine: str) -> None:
        self.workloads = workloads_on(engine)

    def time_fan(self, engine: str) -> None:
        asyncio.run(self.workloads.fan(10_000))
