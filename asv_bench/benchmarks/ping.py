"""W3: one message in flight."""

from asv_bench import workloads

from ._blocks import Block


class Ping(Block):
    params = ("plain", "async")
    param_names = ("style",)
    number = 1

    def setup(self, style: str) -> None:
        self.open(lambda: workloads.ping(style))

    def time_1000_pings(self, style: str) -> None:
        self.send(1_000)

    def track_p50(self, style: str) -> float:
        return self.send(2_000)

    track_p50.unit = "ns"

    def teardown(self, style: str) -> None:
        self.close()


class Push(Block):
    """The same, run to completion in the caller."""

    number = 1

    def setup(self) -> None:
        self.open(lambda: workloads.ping(push=True))

    def time_1000_pings(self) -> None:
        self.send(1_000)

    def teardown(self) -> None:
        self.close()
