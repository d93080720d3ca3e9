"""W6: bytes."""

import asyncio

from asv_bench import workloads


class Memory:
    unit = "bytes"
    timeout = 120

    def track_node_and_edge(self) -> float:
        return asyncio.run(workloads.memory_graph(2_000))[0]

    def track_node_and_edge_in_use(self) -> float:
        return asyncio.run(workloads.memory_graph(2_000))[1]

    def track_queued_message(self) -> float:
        return workloads.memory_message(50_000)

    def track_envelope(self) -> float:
        return asyncio.run(workloads.memory_envelope(5_000))
