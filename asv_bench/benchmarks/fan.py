"""W2: one source, eight branches, one sum; per hop."""

import asyncio

from ._engine import OnEngine


class Fan(OnEngine):
    def time_fan(self, engine: str) -> None:
        self.took(asyncio.run(self.workloads.fan(10_000)))
