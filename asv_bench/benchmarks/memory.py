"""W6: bytes."""

import asyncio

from ._blocks import Block
from ._engine import ENGINES, workloads_on


class Memory:
    """As `tracemalloc` counts them, which only sees what Python allocates."""

    unit = "bytes"
    timeout = 120

    def setup(self) -> None:
        self.workloads = workloads_on("python")

    def track_node_and_edge(self) -> float:
        return asyncio.run(self.workloads.memory_graph(2_000))[0]

    def track_node_and_edge_in_use(self) -> float:
        return asyncio.run(self.workloads.memory_graph(2_000))[1]

    def track_queued_message(self) -> float:
        return self.workloads.memory_message(50_000)

    def track_envelope(self) -> float:
        return asyncio.run(self.workloads.memory_envelope(5_000))


class Resident(Block):
    """As the system counts them."""

    params = ENGINES
    param_names = ("engine",)
    unit = "bytes"
    timeout = 120

    def setup(self, engine: str) -> None:
        self.workloads = workloads_on(engine)
        if not self.workloads.ROLLUP.exists():
            raise NotImplementedError(f"needs {self.workloads.ROLLUP}")

    def track_node_and_edge(self, engine: str) -> float:
        return self.second(lambda: self.workloads.resident_graph(used=False), 3_000)

    def track_node_and_edge_in_use(self, engine: str) -> float:
        return self.second(lambda: self.workloads.resident_graph(used=True), 3_000)

    def track_idle_edge(self, engine: str) -> float:
        return self.second(self.workloads.resident_edges, 5_000)

    def track_queued_message(self, engine: str) -> float:
        return self.second(self.workloads.resident_messages, 500_000)

    def track_envelope(self, engine: str) -> float:
        return self.second(self.workloads.resident_envelopes, 50_000)
