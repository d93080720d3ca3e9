"""Graphs that stay up between samples."""

import asyncio
from collections.abc import Callable
from typing import Any

from ._engine import OnEngine


class Block(OnEngine):
    """Keeps a graph running in an event loop of its own; ``send(count)`` is what is measured."""

    graph: Any = None

    def open(self, graph: Callable[[], Any]) -> None:
        self.runner = asyncio.Runner()
        self.graph = graph()
        self.block = self.runner.run(self.graph.__aenter__())

    def send(self, count: int) -> float:
        return self.runner.run(self._send(count))

    async def _send(self, count: int) -> float:
        return await self.block(count)

    def second(self, graph: Callable[[], Any], count: int) -> float:
        """Send twice and return the second figure: what is made on first use is there by then."""
        self.open(graph)
        self.send(count)
        return self.send(count)

    def teardown(self, *parameters: Any) -> None:
        if self.graph is not None:  # asv comes here too when setup skipped the benchmark
            self.runner.run(self.graph.__aexit__(None, None, None))
            self.runner.close()
            self.graph = None
