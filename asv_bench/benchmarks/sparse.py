"""W4: a message here and there in a graph that is idle elsewhere."""

from ._blocks import Block
from ._engine import ENGINES, workloads_on


class Sparse(Block):
    params = (ENGINES, (10, 1_000, 10_000))
    param_names = ("engine", "nodes")
    number = 1
    timeout = 120

    def setup(self, engine: str, nodes: int) -> None:
        workloads = workloads_on(engine)
        self.open(lambda: workloads.sparse(nodes))

    def time_500_messages(self, engine: str, nodes: int) -> None:
        self.send(500)
