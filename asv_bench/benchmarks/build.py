"""W5: from nothing to a graph that runs; and what it costs to import Meridian."""

import asyncio

from asv_bench import workloads


class Build:
    params = ("plain", "async")
    param_names = ("style",)
    number = 1
    timeout = 120

    def time_2000_nodes(self, style: str) -> None:
        asyncio.run(workloads.build(2_000, style))


def timeraw_import_meridian() -> str:
    return "import meridian"


def timeraw_import_asyncio() -> str:
    return "import asyncio"
