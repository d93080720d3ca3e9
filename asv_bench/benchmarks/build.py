"""W5 and start-up: from nothing to a graph whose first message is through; and what it costs to import Meridian."""

import asyncio

from ._engine import OnEngine, per_engine


class Build(OnEngine):
    """Per node: its making, its edge, validation, plan, engine, start, and the first message."""

    params = per_engine(("plain", "async"))
    param_names = ("engine", "style")

    def time_per_node_of_2000(self, engine: str, style: str) -> None:
        self.took(asyncio.run(self.workloads.build(2_000, style)))


class FirstMessage(OnEngine):
    """From nothing until the first message is through a graph of so many nodes."""

    params = per_engine((10, 10_000))
    param_names = ("engine", "nodes")
    repeat = (1, 5, 10.0)

    def time_first_message(self, engine: str, nodes: int) -> None:
        self.took(asyncio.run(self.workloads.build(nodes)) * nodes)


class Program(OnEngine):
    """Whole processes, wall time."""

    repeat = (1, 5, 10.0)

    def timeraw_first_message(self, engine: str) -> str:
        return self.operations.FIRST_MESSAGE  # its process inherits the choice of the engine


def timeraw_import_meridian() -> str:
    return "import meridian"


def timeraw_import_asyncio() -> str:
    return "import asyncio"
