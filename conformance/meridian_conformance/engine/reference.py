"""Meridian's engines, driven as `meridian.runtime` drives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from meridian.core.message import CONTROL, DATA, Message, Scope
from meridian.core.policies import Coalesce, Policy, block, drop, latest
from meridian.engine.kernel import PythonEngine
from meridian.engine.ring import Ring
from meridian_conformance.engine.contract import MAX_BATCH, OUT
from meridian_conformance.reference import rust_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from meridian.engine.kernel import NodeState
    from meridian_conformance.contract import Counters
    from meridian_conformance.engine.contract import Graph, Link, World

NORMAL: Final = 2


def _newer(old: Any, new: Any) -> Any:
    del old
    return new


_POLICIES: Final[dict[str, Callable[[], Policy]]] = {
    "block": block,
    "drop": drop,
    "latest": latest,
    "coalesce": lambda: Coalesce(_newer),
}


class ReferenceEngine:
    """One engine of Meridian's, with a graph.

    Attributes:
        engine: The engine.
        rings: Its edges.
        states: Its nodes.
    """

    engine_type: type[PythonEngine] = PythonEngine
    ring_type: type[Ring] = Ring

    def __init__(self, graph: Graph, world: World) -> None:
        self.graph = graph
        self.world = world
        self._ticks = 0
        self.engine = self.engine_type(Scope(), self._clock, max_batch=MAX_BATCH)
        self.rings = [self._ring(n, link) for n, link in enumerate(graph.links)]
        self.states = [self._node(node) for node in range(len(graph.nodes))]
        for n, link in enumerate(graph.links):
            self.engine.attach(self.rings[n], link.target, str(n), NORMAL)
        for node, spec in enumerate(graph.nodes):
            if spec.style == "source":
                self.engine.start_source(self.states[node], world.produce(node))

    def _clock(self) -> int:
        self._ticks += 1
        return self._ticks

    def _ring(self, n: int, link: Link) -> Ring:
        return self.ring_type(str(n), link.capacity, _POLICIES[link.policy]())

    def _node(self, node: int) -> NodeState:
        spec, world = self.graph.nodes[node], self.world
        entering = self.graph.entering(node)
        leaving = [self.rings[n] for n in self.graph.leaving(node)]
        state: NodeState
        if spec.style in ("map", "stream") and len(entering) == 1:  # Meridian's functions have one input
            (link,) = entering

            def results(item: Any) -> Iterator[Any]:
                return world.handle(node, link, item)

            def result(item: Any) -> Any:
                return next(results(item), None)

            fn = results if spec.style == "stream" and leaving else result
            kind = "stream" if fn is results else "map"
            state = self.engine.add_node(node, str(node), kind, fn, {OUT: leaving} if leaving else {})
            state.trusted = kind == "map" and bool(leaving)
            return state
        kind = "source" if spec.style == "source" else "call"
        state = self.engine.add_node(node, str(node), kind, None, {OUT: leaving})
        if kind == "call":
            state.wants_message = True
            emit = state.make_emit()

            def handle(port: str, message: Message[Any]) -> None:
                if message.type is CONTROL:
                    world.handle_control(node, int(port), message.payload)
                    return
                for each in world.handle(node, int(port), message.payload):
                    emit(OUT, Message(DATA, each))

            state.fn = handle
        return state

    def step(self) -> bool:
        return self.engine.run(1, 1 << 60)

    def offer(self, link: int, item: Any) -> str:
        return self.rings[link].put(item).name

    def control(self, link: int, item: Any) -> str:
        return self.rings[link].put(Message(CONTROL, item)).name

    def pause(self, node: int) -> None:
        self.states[node].pause()

    def resume(self, node: int) -> None:
        self.states[node].unpause()

    def depth(self, link: int) -> int:
        return self.rings[link].depth()

    def counters(self, link: int) -> Counters:
        ring = self.rings[link]
        return {
            "accepted": ring.accepted(),
            "delivered": ring.taken,
            "merged": ring.merged,
            "lost": dict(ring.lost or {}),
        }

    def parked(self, node: int) -> int:
        return len(self.states[node].parked or ())

    def errors(self, node: int) -> int:
        return self.states[node].errors


class PythonEngines:
    """Opens Meridian's Python engine."""

    name = "python"
    capabilities: Collection[str] = frozenset()
    engine_type: type[ReferenceEngine] = ReferenceEngine

    def open(self, graph: Graph, world: World) -> ReferenceEngine:
        """Open an engine."""
        return self.engine_type(graph, world)


class RustEngines(PythonEngines):
    """Opens Meridian's Rust engine.

    Raises:
        EngineError: it isn't installed.
    """

    name = "rust"

    def __init__(self) -> None:
        kernel = rust_engine()
        self.engine_type = type(
            "RustEngine", (ReferenceEngine,), {"engine_type": kernel, "ring_type": kernel.ring_type}
        )
