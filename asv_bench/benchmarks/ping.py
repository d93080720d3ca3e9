"""W3: one message in flight; the median of their times, on the wall's clock."""

from ._blocks import Block
from ._engine import per_engine


class Ping(Block):
    params = per_engine(("plain", "async"))
    param_names = ("engine", "style")

    def setup(self, engine: str, style: str) -> None:
        super().setup(engine)
        self.open(lambda: self.workloads.ping(style))

    def time_median_of_1000(self, engine: str, style: str) -> None:
        self.took(self.send(1_000))


class Push(Block):
    """The same, run to completion in the caller."""

    def setup(self, engine: str) -> None:
        super().setup(engine)
        self.open(lambda: self.workloads.ping(push=True))

    def time_median_of_1000(self, engine: str) -> None:
        self.took(self.send(1_000))
