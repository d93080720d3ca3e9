"""Nodes at the end of a graph: they hand payloads to a function, one by one or in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meridian.core.errors import MeridianError
from meridian.core.message import CONTROL, DATA, Message
from meridian.nodes.arguments import size
from meridian.nodes.base import FunctionNode, NodeConfig, setup_standard_ports, validate_function

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BatchConsumer", "DataConsumer"]


class UpstreamError(MeridianError, RuntimeError):
    """An ERROR message came to a node that has no output to pass it on."""


class DataConsumer(FunctionNode):
    """Calls a function with each payload; CONTROL and ERROR messages are ignored.

    Args:
        name: Unique within its graph.
        handler: Takes a payload. Failures are dealt with as the error policy says.
        input_port: Name of the input.
        config: Settings; default ones if left out.

    Raises:
        ValueError: ``handler`` isn't a plain function of one argument.

    Example:
        ```python
        from meridian import graph, source
        from meridian.nodes import DataConsumer
        from meridian.testing import simulate

        got = []
        simulate(graph("g", source("abc") >> DataConsumer("end", got.append)))
        assert got == ["a", "b", "c"]
        ```
    """

    def __init__(
        self,
        name: str,
        handler: Callable[[Any], Any],
        input_port: str = "input",
        config: NodeConfig | None = None,
    ) -> None:
        super().__init__(name, *setup_standard_ports([input_port], None), config)
        validate_function(self, "handler", handler, 1)
        self._user_function = handler
        self._input_port = input_port

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        if port == self._input_port and msg.type is DATA:
            self._safe_call_user_function(msg.payload, original_message=msg)


class BatchConsumer(FunctionNode):
    """Collects payloads and calls a function with lists of them.

    A list is handed over when it has ``batch_size`` items; a shorter one at a CONTROL message, when no more input comes,
    and at the stop. Each list is handed over once: where the function fails, the error policy decides and the items
    count as delivered. An ERROR message is a failure too, `UpstreamError`; it leaves the list as it is.

    Args:
        name: Unique within its graph.
        batch_handler: Takes a list of payloads, which is its own from then on.
        batch_size: Items of a full list, at least 1.
        input_port: Name of the input.
        config: Settings; default ones if left out.

    Raises:
        TypeError: ``batch_size`` isn't a whole number.
        ValueError: it is less than 1, or ``batch_handler`` isn't a plain function of one argument.

    Example:
        ```python
        from meridian import graph, source
        from meridian.nodes import BatchConsumer
        from meridian.testing import simulate

        got = []
        pairs = BatchConsumer("pairs", got.append, batch_size=2)
        simulate(graph("g", source(range(5)) >> pairs))
        assert got == [[0, 1], [2, 3], [4]]
        ```
    """

    def __init__(
        self,
        name: str,
        batch_handler: Callable[[list[Any]], Any],
        batch_size: int = 10,
        input_port: str = "input",
        config: NodeConfig | None = None,
    ) -> None:
        super().__init__(name, *setup_standard_ports([input_port], None), config)
        validate_function(self, "batch_handler", batch_handler, 1)
        self._user_function = batch_handler
        self._batch_size = size(self, "batch_size", batch_size)
        self._input_port = input_port
        self._batch: list[Any] = []
        self._last: Message[Any] | None = None

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        if port != self._input_port:
            return
        if msg.type is DATA:
            self._batch.append(msg.payload)
            self._last = msg
            if len(self._batch) >= self._batch_size:
                self._flush()
        elif msg.type is CONTROL:
            self._flush()
        else:
            self._handle_failure(UpstreamError(f"an ERROR message came to node {self.name!r}"), msg)

    def on_drain(self) -> Any:
        """Hand over what is left."""
        self._flush()

    def on_stop(self) -> Any:
        super().on_stop()
        self._flush()  # where the run was cut off, or there was none

    def _flush(self) -> None:
        if self._batch:
            batch, self._batch = self._batch, []
            self._safe_call_user_function(batch, original_message=self._last)
