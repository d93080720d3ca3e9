"""W4: a message here and there in a graph that is idle elsewhere."""

from asv_bench import workloads

from ._blocks import Block


class Sparse(Block):
    params = (10, 1_000, 10_000)
    param_names = ("nodes",)
    number = 1
    timeout = 120

    def setup(self, nodes: int) -> None:
        self.open(lambda: workloads.sparse(nodes))

    def time_500_messages(self, nodes: int) -> None:
        self.send(500)

    def teardown(self, nodes: int) -> None:
        self.close()
