"""W2: one source, eight branches, one sum."""

import asyncio

from asv_bench import workloads


class Fan:
    number = 1

    def time_fan(self) -> None:
        asyncio.run(workloads.fan(10_000))
