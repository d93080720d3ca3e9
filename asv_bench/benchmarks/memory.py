"""W6: bytes."""

import asyncio

from ._blocks import Block
from ._engine import OnEngine, skip


class Memory(OnEngine):
    """As `tracemalloc` counts them, which only sees what Python allocates."""

    params = ()
    param_names = ()
    unit = "bytes"

    def setup(self) -> None:
        super().setup("python")

    def track_node_and_edge(self) -> float:
        return asyncio.run(self.workloads.memory_graph(1_000))[0]

    def track_node_and_edge_in_use(self) -> float:
        return asyncio.run(self.workloads.memory_graph(1_000))[1]

    def track_queued_message(self) -> float:
        return self.workloads.memory_message(50_000)

    def track_envelope(self) -> float:
        return asyncio.run(self.workloads.memory_envelope(5_000))


class Resident(Block):
    """As the system counts them."""

    unit = "bytes"

    def setup(self, engine: str) -> None:
        super().setup(engine)
        if not self.workloads.ROLLUP.exists():
            raise skip(f"needs {self.workloads.ROLLUP}")

    def track_node_and_edge(self, engine: str) -> float:
        return self.second(lambda: self.workloads.resident_graph(used=False), 3_000)

    def track_node_and_edge_in_use(self, engine: str) -> float:
        return self.second(lambda: self.workloads.resident_graph(used=True), 3_000)

    def track_idle_edge(self, engine: str) -> float:
        return self.second(self.workloads.resident_edges, 5_000)

    def track_queued_message(self, engine: str) -> float:
        return self.second(self.workloads.resident_messages, 200_000)

    def track_envelope(self, engine: str) -> float:
        return self.second(self.workloads.resident_envelopes, 50_000)


class Peak(OnEngine):
    """Most memory that a process ever had, the interpreter and the libraries included."""

    def peakmem_chain(self, engine: str) -> None:
        asyncio.run(self.workloads.chain(50_000))

    def peakmem_graph_of_10000_nodes(self, engine: str) -> None:
        asyncio.run(self.workloads.build(10_000))
