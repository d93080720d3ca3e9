"""W4: a message here and there in a graph that is idle elsewhere; per hop."""

from ._blocks import Block
from ._engine import per_engine


class Sparse(Block):
    params = per_engine((10, 1_000, 10_000))
    param_names = ("engine", "nodes")
    repeat = (1, 3, 5.0)  # asv opens the graph anew for each

    def setup(self, engine: str, nodes: int) -> None:
        super().setup(engine)
        self.open(lambda: self.workloads.sparse(nodes))

    def time_500_messages(self, engine: str, nodes: int) -> None:
        self.took(self.send(500))
