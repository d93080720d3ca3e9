"""Nodes that put a function of the user's on a message's way: one result, none, or many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meridian.core.message import CONTROL, Message
from meridian.nodes import native
from meridian.nodes.arguments import flag, wrong
from meridian.nodes.base import BurstPipeNode, NodeConfig, PipeNode, validate_function

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["FilterTransformer", "FlatMapTransformer", "MapTransformer"]


class MapTransformer(PipeNode):
    """Emits what a function returns for each payload; ``None`` emits nothing.

    The result travels in a message with the trace, the headers and the metadata of the one it was made of. CONTROL and
    ERROR messages pass unchanged.

    Args:
        name: Unique within its graph.
        transform_fn: Takes a payload, returns the next one. Failures are dealt with as the error policy says.
        input_port: Name of the input.
        output_port: Name of the output.
        config: Settings; default ones if left out.

    Raises:
        ValueError: ``transform_fn`` isn't a plain function of one argument.

    Example:
        ```python
        from meridian import graph, sink, source
        from meridian.nodes import MapTransformer
        from meridian.testing import simulate

        got = []
        double = MapTransformer("double", lambda x: 2 * x)
        simulate(graph("g", source(range(4)) >> double >> sink(got.append)))
        assert got == [0, 2, 4, 6]
        ```
    """

    def __init__(
        self,
        name: str,
        transform_fn: Callable[[Any], Any],
        input_port: str = "input",
        output_port: str = "output",
        config: NodeConfig | None = None,
    ) -> None:
        super().__init__(name, input_port, output_port, config)
        validate_function(self, "transform_fn", transform_fn, 1)
        self._user_function = transform_fn

    def _handle_data(self, msg: Message[Any]) -> None:
        result = self._safe_call_user_function(msg.payload, original_message=msg)
        if result is not None:
            self.emit(self._output_port, msg.with_payload(result))


class FilterTransformer(PipeNode):
    """Forwards the messages whose payload is of some type, or a predicate holds true for, each as it is.

    A predicate that raises lets nothing pass, and is dealt with as the error policy says. ERROR messages always pass.

    Args:
        name: Unique within its graph.
        predicate: Takes a payload, says whether its message goes on.
        input_port: Name of the input.
        output_port: Name of the output.
        pass_through_control: Whether CONTROL messages pass.
        config: Settings; default ones if left out.
        types: Instead of a predicate: a type, or several of which the payload must be an instance of one.

    Raises:
        TypeError: ``pass_through_control`` isn't a bool, or ``types`` aren't types.
        ValueError: ``predicate`` isn't a plain function of one argument; neither of ``predicate`` and ``types`` is given,
            or both.

    Cost: by type, or with a predicate like ``known.__contains__``, the Rust engine calls no Python.

    Example:
        ```python
        from meridian import graph, sink, source
        from meridian.nodes import FilterTransformer
        from meridian.testing import simulate

        got = []
        even = FilterTransformer("even", lambda x: x % 2 == 0)
        simulate(graph("g", source(range(7)) >> even >> sink(got.append)))
        assert got == [0, 2, 4, 6]
        ```
    """

    def __init__(
        self,
        name: str,
        predicate: Callable[[Any], Any] | None = None,
        input_port: str = "input",
        output_port: str = "output",
        pass_through_control: bool = True,
        config: NodeConfig | None = None,
        *,
        types: type | tuple[type, ...] | None = None,
    ) -> None:
        super().__init__(name, input_port, output_port, config)
        self._types = () if types is None else types if isinstance(types, tuple) else (types,)
        if types is None:
            validate_function(self, "predicate", predicate, 1)
        elif predicate is not None:
            raise ValueError(f"FilterTransformer {name!r}: predicate and types can't both be given")
        elif not self._types or not all(isinstance(each, type) for each in self._types):
            raise wrong(TypeError, self, "types", types, "a type, or a tuple of types")
        self._user_function = predicate
        self._pass_through_control = flag(self, "pass_through_control", pass_through_control)

    def _handle_data(self, msg: Message[Any]) -> None:
        try:
            if self._types:
                passes = isinstance(msg.payload, self._types)
            else:
                passes = bool(self._call_user_function(msg.payload))
        except Exception as error:  # noqa: BLE001 - the error policy decides
            self._handle_failure(error, msg)
            return
        if passes:
            self.emit(self._output_port, msg)

    def _pass_on(self, msg: Message[Any]) -> None:
        if self._pass_through_control or msg.type is not CONTROL:
            super()._pass_on(msg)

    def _native_form(self) -> tuple[Any, ...] | None:
        if self._types:
            test: tuple[Any, ...] = ("types", self._types)
        elif native.is_plain(self._user_function):
            test = ("call", self._user_function)
        else:
            return None
        return ("filter", (self._input_port,), self._output_port, test)


class FlatMapTransformer(BurstPipeNode):
    """Emits every element of what a function returns for each payload; ``None`` emits nothing.

    The iterable is asked for its next element when the one before was accepted, so it may be larger than all room
    downstream, or endless; no further message is taken meanwhile. Each element travels with the trace, the headers and
    the metadata of the message it was made of. CONTROL and ERROR messages pass unchanged, behind what waits.

    Where the function or its iterable raises, what came before stays emitted, and the error policy decides.

    Args:
        name: Unique within its graph.
        transform_fn: Takes a payload, returns an iterable of payloads, or ``None``.
        input_port: Name of the input.
        output_port: Name of the output.
        config: Settings; default ones if left out.

    Raises:
        ValueError: ``transform_fn`` isn't a plain function of one argument.

    Example:
        ```python
        from meridian import graph, sink, source
        from meridian.nodes import FlatMapTransformer
        from meridian.testing import simulate

        got = []
        words = FlatMapTransformer("words", str.split)
        simulate(graph("g", source(["to be", "or not"]) >> words >> sink(got.append)))
        assert got == ["to", "be", "or", "not"]
        ```
    """

    def __init__(
        self,
        name: str,
        transform_fn: Callable[[Any], Iterable[Any] | None],
        input_port: str = "input",
        output_port: str = "output",
        config: NodeConfig | None = None,
    ) -> None:
        super().__init__(name, input_port, output_port, config)
        validate_function(self, "transform_fn", transform_fn, 1)
        self._user_function = transform_fn

    def _handle_data(self, msg: Message[Any]) -> None:
        self._emit_all(self._output_port, self._elements(msg))

    def _elements(self, msg: Message[Any]) -> Iterator[Message[Any]]:
        failed: Exception
        try:
            elements = self._call_user_function(msg.payload)
            if elements is not None:
                for element in elements:
                    yield msg.with_payload(element)
            return
        except Exception as error:  # noqa: BLE001 - the error policy decides
            failed = error
        message = self._error_message(failed, msg)
        if message is not None:
            yield message
