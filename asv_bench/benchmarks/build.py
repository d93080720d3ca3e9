"""W5: from nothing to a graph that runs; and what it costs to import Meridian."""

import asyncio

from ._engine import ENGINES, workloads_on


class Build:
    params = (ENGINES, ("plain", "async"))
    param_names = ("engine", "style")
    number = 1
    timeout = 120

    def setup(self, engine: str, style: str) -> None:
        self.workloads = workloads_on(engine)

    def time_2000_nodes(self, engine: str, style: str) -> None:
        asyncio.run(self.workloads.build(2_000, style))


def timeraw_import_meridian() -> str:
    return "import meridian"


def timeraw_import_asyncio() -> str:
    return "import asyncio"
