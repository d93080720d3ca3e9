"""W3: one message in flight."""

from ._blocks import Block
from ._engine import ENGINES, workloads_on


class Ping(Block):
    params = (ENGINES, ("plain", "async"))
    param_names = ("engine", "style")
    number = 1

    def setup(self, engine: str, style: str) -> None:
        workloads = workloads_on(engine)
        self.open(lambda: workloads.ping(style))

    def time_1000_pings(self, engine: str, style: str) -> None:
        self.send(1_000)

    def track_p50(self, engine: str, style: str) -> float:
        return self.send(2_000)

    track_p50.unit = "ns"


class Push(Block):
    """The same, run to completion in the caller."""

    params = ENGINES
    param_names = ("engine",)
    number = 1

    def setup(self, engine: str) -> None:
        workloads = workloads_on(engine)
        self.open(lambda: workloads.ping(push=True))

    def time_1000_pings(self, engine: str) -> None:
        self.send(1_000)
