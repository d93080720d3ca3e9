"""Nodes that decide where messages go, and leave them as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meridian.core.message import DATA, Message
from meridian.core.node import ports_of
from meridian.core.ports import PortDirection
from meridian.nodes import native
from meridian.nodes.arguments import wrong
from meridian.nodes.base import BurstNode, FunctionNode, NodeConfig, setup_standard_ports, validate_function
from meridian.observability.logging import get_logger
from meridian.redaction import describe_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from meridian.core.node import Node

__all__ = ["Merger", "Router", "Splitter"]


def _port_names(node: Node, parameter: str, names: Any) -> list[str]:
    """Return several names of ports."""
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise wrong(TypeError, node, parameter, names, "a list of port names")
    if not names or len({*names}) < len(names):
        raise wrong(ValueError, node, parameter, names, "at least one port name, each once")
    return list(names)


class _Distributor(BurstNode):
    """Sends DATA on some of its outputs, and everything else on all of them, in the order in which they were declared."""

    def __init__(
        self, name: str, output_ports: Sequence[str], input_port: str, config: NodeConfig | None
    ) -> None:
        super().__init__(name, *setup_standard_ports([input_port], None), config)
        self.outputs = setup_standard_ports(None, _port_names(self, "output_ports", output_ports))[1]
        self._input_port = input_port

    def _names(self) -> list[str]:
        # Looked up each time: v1 programs may add outputs later.
        return [port.name for port in ports_of(self.outputs, PortDirection.OUTPUT)]

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        if port == self._input_port:
            self._emit_to_each(self._targets(msg) if msg.type is DATA else self._names(), msg)

    def _targets(self, msg: Message[Any]) -> Sequence[str]:
        raise NotImplementedError

    def _decided(self, event: str, error: Exception, what: str) -> None:
        """Note a failure whose consequence is fixed, whatever the error policy says."""
        self.record_error(error)
        described = describe_error(error)
        get_logger().warn_limited(
            (event, self.name), event, what,
            node=self.name, error_type=described.type, where=described.where,
        )  # fmt: skip


class Router(_Distributor):
    """Sends each DATA message to the output that its payload's type, one of its fields or a function names; everything else to all.

    Where a function raises or no output is named, the message goes to ``default_port``; without one it is dropped, which
    ``dropped`` and a warning, ``router.dropped`` (at most one a second), tell. An exception is in the report too.

    CONTROL and ERROR messages go to the outputs in the order in which they were declared.

    Args:
        name: Unique within its graph.
        routing_fn: Takes a payload, returns the name of an output.
        output_ports: Names of the outputs; those of ``by_type`` if left out.
        input_port: Name of the input.
        default_port: Where messages go that have no other place; no effect if it is none of the outputs.
        config: Settings; default ones if left out.
        by_type: Instead of a function: outputs by type. The first type counts that the payload is an instance of.
        by_field: Instead of a function: the key of a dict, or the attribute of anything else, that has the output's name.

    Attributes:
        dropped: DATA messages that went nowhere.

    Raises:
        TypeError: ``output_ports`` aren't names, ``by_type`` isn't a mapping from types, or ``by_field`` isn't a str.
        ValueError: there is no output, or one twice, or ``by_type`` names another; ``routing_fn`` isn't a plain function
            of one argument; more than one of ``routing_fn``, ``by_type`` and ``by_field`` is given.

    Cost: by type, by field or with a function like ``ports.get`` the Rust engine calls no Python.

    Example:
        ```python
        from meridian import graph, sink, source
        from meridian.nodes import Router
        from meridian.testing import simulate

        small, large = [], []
        router = Router("sizes", lambda x: "small" if x < 10 else "large", ["small", "large"])
        ends = {"small": sink(small.append, name="s"), "large": sink(large.append, name="l")}
        simulate(
            graph(
                "g", source([3, 30, 4]) >> router, *(router[port] >> ends[port] for port in ends)
            )
        )
        assert (small, large) == ([3, 4], [30])
        ```
    """

    def __init__(
        self,
        name: str,
        routing_fn: Callable[[Any], str] | None = None,
        output_ports: list[str] | None = None,
        input_port: str = "input",
        default_port: str | None = None,
        config: NodeConfig | None = None,
        *,
        by_type: Mapping[type, str] | None = None,
        by_field: str | None = None,
    ) -> None:
        self.name = name  # for what is said about the arguments
        if (routing_fn is not None) + (by_type is not None) + (by_field is not None) > 1:
            raise ValueError(f"Router {name!r}: only one of routing_fn, by_type and by_field can be given")
        by_type = None if by_type is None else _outputs_by_type(self, by_type)
        ports: Any = (
            list(dict.fromkeys(by_type.values())) if by_type and output_ports is None else output_ports
        )
        super().__init__(name, ports, input_port, config)
        self._rule: tuple[Any, ...] | None = None  # the callable-free form, as `native` has it
        if by_type is not None:
            for port in by_type.values():
                if port not in self._names():
                    raise wrong(ValueError, self, "by_type", port, f"for one of {self._names()}")
            self._rule = ("types", tuple(by_type.items()))
        elif by_field is not None:
            if not isinstance(by_field, str):
                raise wrong(TypeError, self, "by_field", by_field, "the name of a field")
            self._rule = ("field", by_field)
        else:
            validate_function(self, "routing_fn", routing_fn, 1)
        if default_port is not None and not isinstance(default_port, str):
            raise wrong(TypeError, self, "default_port", default_port, "the name of an output, or None")
        self._user_function = routing_fn
        self._default_port = default_port
        self.dropped = 0

    def _targets(self, msg: Message[Any]) -> Sequence[str]:
        names = self._names()
        try:
            target = self._target(msg.payload)
        except Exception as error:  # noqa: BLE001 - the default port is for this
            self._decided(
                "router.error", error, "routing function failed; its message goes to the default port"
            )
        else:
            if isinstance(target, str) and target in names:
                return (target,)
        if self._default_port in names:
            return (self._default_port,)
        self.dropped += 1
        get_logger().warn_limited(
            ("router.dropped", self.name), "router.dropped",
            "no output for a message, and no default port", node=self.name, dropped=self.dropped,
        )  # fmt: skip
        return ()

    def _target(self, payload: Any) -> Any:
        if self._rule is None:
            return self._call_user_function(payload)
        kind, what = self._rule
        if kind == "types":
            return next((port for each, port in what if isinstance(payload, each)), None)
        return payload.get(what) if isinstance(payload, dict) else getattr(payload, what, None)

    def _native_form(self) -> tuple[Any, ...] | None:
        rule = self._rule
        if rule is None and native.is_plain(self._user_function):
            rule = ("call", self._user_function)
        return (
            None
            if rule is None
            else ("route", (self._input_port,), "", rule, self._default_port, self.outputs)
        )


def _outputs_by_type(node: Node, by_type: Any) -> dict[type, str]:
    try:
        made = dict(by_type)
    except (TypeError, ValueError):
        raise wrong(TypeError, node, "by_type", by_type, "a mapping from types to outputs") from None
    for each, port in made.items():
        if not isinstance(each, type) or not isinstance(port, str):
            raise wrong(TypeError, node, "by_type", {each: port}, "a mapping from types to outputs")
    return made


class Merger(FunctionNode):
    """Forwards every message from several inputs to one output.

    Each input keeps its order; the inputs are served in turn.

    Args:
        name: Unique within its graph.
        input_ports: Names of the inputs.
        output_port: Name of the output.
        config: Settings; default ones if left out.

    Raises:
        TypeError: ``input_ports`` aren't names.
        ValueError: there is none, or one twice.

    Example:
        ```python
        from meridian import graph, sink, source
        from meridian.nodes import Merger
        from meridian.testing import simulate

        got = []
        merger = Merger("both", ["left", "right"])
        left, right = source([1, 2], name="one"), source([8, 9], name="two")
        simulate(
            graph(
                "g", left >> merger["left"], right >> merger["right"], merger >> sink(got.append)
            )
        )
        assert sorted(got) == [1, 2, 8, 9]
        ```
    """

    def __init__(
        self,
        name: str,
        input_ports: list[str],
        output_port: str = "output",
        config: NodeConfig | None = None,
    ) -> None:
        super().__init__(name, *setup_standard_ports(None, [output_port]), config)
        self._input_ports = _port_names(self, "input_ports", input_ports)
        self.inputs = setup_standard_ports(self._input_ports, None)[0]
        self._output_port = output_port

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        if port in self._input_ports:
            self.emit(self._output_port, msg)

    def _native_form(self) -> tuple[Any, ...]:
        return ("pass", tuple(self._input_ports), self._output_port)


class Splitter(_Distributor):
    """Sends each DATA message to every output whose filter holds true or is missing; everything else to all outputs.

    A filter that raises counts as false; a warning, ``splitter.filter_error`` (at most one a second), and the report
    tell. All outputs get the very same message.

    Args:
        name: Unique within its graph.
        output_ports: Names of the outputs.
        input_port: Name of the input.
        port_filters: Function by output; each takes a payload and says whether it goes there.
        config: Settings; default ones if left out.

    Raises:
        TypeError: ``output_ports`` aren't names, or ``port_filters`` isn't a mapping.
        ValueError: there is no output, or one twice; a filter is for another port, or isn't a plain function of one
            argument.

    Example:
        ```python
        from meridian import graph, sink, source
        from meridian.nodes import Splitter
        from meridian.testing import simulate

        every, even = [], []
        splitter = Splitter("s", ["every", "even"], port_filters={"even": lambda x: x % 2 == 0})
        ends = {"every": sink(every.append, name="a"), "even": sink(even.append, name="b")}
        simulate(
            graph(
                "g",
                source(range(4)) >> splitter,
                *(splitter[port] >> ends[port] for port in ends),
            )
        )
        assert (every, even) == ([0, 1, 2, 3], [0, 2])
        ```
    """

    def __init__(
        self,
        name: str,
        output_ports: list[str],
        input_port: str = "input",
        port_filters: Mapping[str, Callable[[Any], Any]] | None = None,
        config: NodeConfig | None = None,
    ) -> None:
        super().__init__(name, output_ports, input_port, config)
        try:
            self._filters = dict(port_filters or {})
        except (TypeError, ValueError):
            raise wrong(
                TypeError, self, "port_filters", port_filters, "a mapping from outputs to functions"
            ) from None
        for port, function in self._filters.items():
            if port not in self._names():
                raise wrong(ValueError, self, "port_filters", port, f"for one of {self._names()}")
            validate_function(self, f"port_filters[{port!r}]", function, 1)

    def _targets(self, msg: Message[Any]) -> Sequence[str]:
        return [port for port in self._names() if self._passes(port, msg.payload)]

    def _passes(self, port: str, payload: Any) -> bool:
        function = self._filters.get(port)
        try:
            return function is None or bool(function(payload))
        except Exception as error:  # noqa: BLE001 - counts as false
            self._decided("splitter.filter_error", error, "filter failed; the message doesn't go to its port")
            return False
