"""Meridian's own ready-made nodes on Meridian's own engines, driven as a run drives them.

An engine with native forms does the work of these nodes without calling them, so the same nodes on the Rust engine are the
native ones.
"""

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import contextmanager
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, cast

from meridian.core.message import Message, MessageType, Scope, current_scope
from meridian.core.policies import ErrorPolicy, block
from meridian.engine.kernel import PythonEngine
from meridian.nodes import Batch, FilterTransformer, Merger, NodeConfig, Router, ThrottleNode
from meridian.observability.logging import LogConfig, get_logger
from meridian.runtime.hooks import hook_of, native_form, ticks
from meridian_conformance.contract import EMPTY, Capability
from meridian_conformance.node.contract import LEFT, RIGHT, NodeSpec
from meridian_conformance.reference import rust_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from meridian.core.node import Node
    from meridian.engine.ring import Ring

NORMAL: Final = 2
MAX_BATCH: Final = 4
"""Most messages of a slice: few, so that short histories have several slices."""

TYPES: Final = {str: LEFT, int: RIGHT}


_QUIET: Final = LogConfig(stream=io.StringIO())


@contextmanager
def _unheard() -> Generator[None]:
    """Let nobody hear what nodes log of the failures that they are meant to have."""
    logger = get_logger()
    kept = logger.config
    logger.reconfigure(_QUIET)
    try:
        yield
    finally:
        logger.reconfigure(kept)


class NodeBench:
    """A node on an engine, between an input edge and its output edges; to the node it is what a run is.

    Args:
        node: The node; its first input is used, and its outputs are those of the spec.
        spec: What is opened.
        kinds: The engine.
    """

    name = "node"

    def __init__(self, node: Node, spec: NodeSpec, kinds: type[PythonEngine]) -> None:
        self.node = node
        self.spec = spec
        self.asked: int | None = None
        self.to_drain = False
        self.puts = 0
        self.scope = Scope()
        self.engine = kinds(self.scope, self.now_ns, max_batch=MAX_BATCH)
        self.input: Ring = kinds.ring_type("in", spec.capacity, block())
        self.outputs: dict[str, Ring] = {
            name: kinds.ring_type(name, spec.capacity, block()) for name in spec.outputs
        }
        ports = {name: [ring] for name, ring in self.outputs.items()}
        self.state = self.engine.add_node(0, node.name, "call", None, ports)
        self.state.wants_message = True
        self.state.max_parked = node.max_parked
        self.state.fn = hook_of(node, "on_message", "_handle_message")[0]
        form = native_form(node)
        self.state.form = None if form is None else (self.state.fn, form)
        self.emit: Callable[[str, Message[Any]], Message[Any]] = self.state.make_emit()
        node._attached = cast("Any", self)
        if ticks(node):
            self.engine.add_tick(self.state, hook_of(node, "on_tick", "_handle_tick")[0])
        self.engine.attach(self.input, 0, node.inputs[0].name, NORMAL)
        for i, (name, ring) in enumerate(
            self.outputs.items(), 1
        ):  # to consumers that never run: the kit takes
            self.engine.add_node(i, name, "call", None, {}).hold()
            self.engine.attach(ring, i, "in", NORMAL)
        with _unheard():
            node.on_start()

    # ---- what a run is to its nodes ----------------------------------------------------------------------------

    def now_ns(self) -> int:
        return round(self.spec.clock() * 1e9)

    def now(self) -> float:
        return self.now_ns() / 1e9

    def tick_in(self, seconds: float) -> None:
        due = self.now_ns() + round(seconds * 1e9)
        self.asked = due if self.asked is None else min(self.asked, due)

    def pause(self, port: str | None) -> None:
        self.state.pause(port)

    def resume(self, port: str | None) -> None:
        self.state.unpause(port)

    def record_error(self, error: BaseException) -> None:
        del error
        self.state.errors += 1

    # ---- what a bench is ---------------------------------------------------------------------------------------

    def put(self, kind: str, item: Any) -> str:
        self.puts += 1
        plain = kind == "DATA" and self.puts % 3  # data comes raw and in envelopes
        return self.input.put(item if plain else Message(MessageType[kind], item)).name

    def step(self) -> bool:
        due = self._what_is_due()
        if due is None:
            return False
        with _unheard():
            token = current_scope.set(self.scope)
            try:
                due()
            finally:
                current_scope.reset(token)
        return True

    def _what_is_due(self) -> Callable[[], object] | None:
        """Return what a run would do now: a slice, else a tick that was asked for, else the end of the input."""
        if not self.engine.idle():
            return lambda: self.engine.run(1, 1 << 60)
        tick = self.state.tick_turn
        if tick is not None and self.asked is not None and self.asked <= self.now_ns():
            self.asked = None
            self.engine.ready(tick)
            return lambda: self.engine.run(1, 1 << 60)
        if self.to_drain and not self.input.depth() and not self.state.parked:
            self.to_drain = False
            return self.node.on_drain
        return None

    def take(self, output: str) -> Any:
        try:
            item = self.outputs[output].get()
        except IndexError:
            return EMPTY
        return (item.type.name, item.payload) if isinstance(item, Message) else ("DATA", item)

    def waiting(self) -> int:
        return len(self.input.items)

    def depth(self, output: str) -> int:
        return len(self.outputs[output].items)

    def errors(self) -> int:
        return self.state.errors

    def end(self) -> None:
        self.to_drain = True


class PythonNodes:
    """Opens Meridian's own nodes on its Python engine.

    To have a node of yours judged that is written for Meridian, derive from this and override `make`.
    """

    name = "python"
    capabilities: Collection[str] = frozenset({Capability.ROUTE, Capability.BATCH, Capability.THROTTLE})
    kinds: type[PythonEngine] = PythonEngine

    def open(self, spec: NodeSpec) -> NodeBench:
        """Open a node."""
        return NodeBench(self.make(spec), spec, self.kinds)

    def make(self, spec: NodeSpec) -> Node:
        """Make the node that does what the spec says."""
        if spec.kind == "filter":
            policy = ErrorPolicy.EMIT_ERROR if spec.on_error == "emit" else ErrorPolicy.LOG_AND_CONTINUE
            config = NodeConfig(error_policy=policy)
            if spec.by == "type":
                return FilterTransformer("node", types=str, config=config)
            return FilterTransformer("node", itemgetter("keep"), config=config)
        if spec.kind == "route":
            default = LEFT if spec.default else None
            if spec.by == "type":
                return Router("node", by_type=TYPES, default_port=default)
            return Router("node", itemgetter("to"), [LEFT, RIGHT], default_port=default)
        if spec.kind == "batch":
            return Batch("node", spec.size, spec.within_s)
        if spec.kind == "throttle":
            return ThrottleNode("node", spec.rate, burst_size=spec.burst)
        return Merger("node", ["input"])


class RustNodes(PythonNodes):
    """Opens the same on Meridian's Rust engine, which does their work natively.

    Raises:
        EngineError: it isn't installed.
    """

    name = "rust"

    def __init__(self) -> None:
        self.kinds = rust_engine()
