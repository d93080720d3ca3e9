"""A source in time, a node that watches, and short runs, that the tests of the nodes share."""

from __future__ import annotations

import asyncio
from typing import Any

from meridian import graph, source, via
from meridian.core.message import Message
from meridian.core.node import Node
from meridian.core.policies import ErrorPolicy
from meridian.nodes.base import NodeConfig, setup_standard_ports
from meridian.testing import NodeTestHarness, simulate

RAISES = NodeConfig(error_policy=ErrorPolicy.RAISE_EXCEPTION)
EMITS = NodeConfig(error_policy=ErrorPolicy.EMIT_ERROR)


def timed(*steps: tuple[float, Any]) -> Any:
    """A source of items, each at its second; a function among them is called instead."""

    async def items() -> Any:
        now = 0.0
        for at, item in steps:
            if at > now:
                await asyncio.sleep(at - now)
                now = at
            if callable(item):
                item()
            else:
                yield item

    return source(items(), name="start")


class Watch(Node):
    """Keeps what comes, and when."""

    def __init__(self) -> None:
        super().__init__("watch", *setup_standard_ports(["in"], None))
        self.got: list[tuple[float, Any]] = []
        self.messages: list[Message[Any]] = []

    def on_start(self) -> None:
        self.began = self.now()

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        self.got.append((round(self.now() - self.began, 6), msg.payload))
        self.messages.append(msg)

    @property
    def payloads(self) -> list[Any]:
        return [payload for _, payload in self.got]


def run(made: Node, *steps: tuple[float, Any], capacity: int = 1000, seed: int = 0) -> tuple[Watch, Any]:
    watch = Watch()
    simulation = simulate(graph("g", timed(*steps) >> made >> via(capacity=capacity) >> watch), seed=seed)
    assert simulation.report.reason == "finished"
    return watch, simulation


def payloads(harness: NodeTestHarness, port: str = "output") -> list[Any]:
    return [message.payload for message in harness.get_emitted_messages(port)]
