"""What a look at a run costs: from inside, made into JSON, and through the socket."""

from importlib import import_module
from importlib.util import find_spec

from ._blocks import Block
from ._engine import per_engine, skip


class Looks(Block):
    params = per_engine((10, 1_000, 10_000), ("inside", "json", "socket"))
    param_names = ("engine", "nodes", "how")
    repeat = (1, 3, 5.0)  # asv opens the graph anew for each

    def setup(self, engine: str, nodes: int, how: str) -> None:
        super().setup(engine)
        if find_spec("meridian.introspect") is None:
            raise skip("this commit has no introspection")
        looks = import_module("asv_bench.looks")
        self.open(lambda: looks.looks(nodes, how))

    def time_look(self, engine: str, nodes: int, how: str) -> None:
        self.took(self.second_look(max(1, 2_000 // nodes)))

    def second_look(self, count: int) -> float:
        self.send(1)
        return self.send(count)
