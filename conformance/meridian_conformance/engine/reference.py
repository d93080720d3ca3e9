"""Meridian's engines, driven as `meridian.runtime` drives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from meridian.core.message import CONTROL, DATA, Message, Scope
from meridian.core.policies import Coalesce, Policy, block, drop, latest
from meridian.engine.kernel import PythonEngine
from meridian.engine.ring import Budget, LimitedRing, Ring
from meridian.runtime.plan import Plan, PlannedEdge
from meridian_conformance.contract import Capability
from meridian_conformance.engine.asynchronous import AsynchronousWork
from meridian_conformance.engine.contract import MAX_BATCH, OUT, size_of
from meridian_conformance.reference import rust_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from meridian.engine.node import NodeState
    from meridian_conformance.contract import Counters
    from meridian_conformance.engine.contract import Graph, World

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
    limited_ring_type: type[LimitedRing] = LimitedRing
    budget_type: type[Budget] = Budget
    work_type: type[AsynchronousWork] = AsynchronousWork

    def __init__(self, graph: Graph, world: World) -> None:
        self.graph = graph
        self.world = world
        self._ticks = 0
        self.engine = self.engine_type(Scope(), self.monotonic_ns, max_batch=MAX_BATCH)
        self.work = self.work_type(self.engine, self, world) if Capability.ASYNC in graph.needs() else None
        self.rings = self._rings()
        self.states = [self._node(node) for node in range(len(graph.nodes))]
        for n, link in enumerate(graph.links):
            self.engine.attach(self.rings[n], link.target, str(n), NORMAL)
        for node, spec in enumerate(graph.nodes):
            if spec.style == "source":
                self.engine.start_source(self.states[node], world.produce(node))

    # ---- the engine's own time: each look takes a nanosecond, so that no slice is ever too long ----

    def monotonic_ns(self) -> int:
        self._ticks += 1
        return self._ticks

    def time(self) -> float:
        return 0.0

    # ---- building ----

    def _rings(self) -> list[Ring]:
        """Make the edges, with limits where there are any, as `Assembly` does."""
        graph, policies = self.graph, [_POLICIES[link.policy]() for link in self.graph.links]
        if Capability.LIMITS not in graph.needs():
            return [self.ring_type(str(n), link.capacity, policies[n]) for n, link in enumerate(graph.links)]
        nobody: Any = None  # how a plan shares out a budget depends on its shape alone
        edges = [
            PlannedEdge(str(n), nobody, link.source, OUT, link.target, str(n), 0)
            for n, link in enumerate(graph.links)
        ]
        shares = Plan([nobody] * len(graph.nodes), edges, [graph.budget]).budget_shares()
        budget = None if graph.budget is None else self.budget_type(graph.budget)
        rings: list[Ring] = []
        for n, link in enumerate(graph.links):
            ring = self.limited_ring_type(
                str(n),
                link.capacity,
                policies[n],
                max_bytes=link.max_bytes,
                max_age_ns=None if link.max_age_s is None else round(link.max_age_s * 1e9),
                budget=budget,
                size=size_of,
                clock=lambda: round(self.world.clock() * 1e9),
            )
            if budget is not None:
                budget.add(ring, shares[n])
            rings.append(ring)
        return rings

    def _node(self, node: int) -> NodeState:
        spec, world = self.graph.nodes[node], self.world
        entering = self.graph.entering(node)
        leaving = [self.rings[n] for n in self.graph.leaving(node)]
        state: NodeState
        if self.work is not None and spec.style == "async":
            state = self.engine.add_node(node, str(node), "call", None, {OUT: leaving} if leaving else {})
            state.wants_message = len(entering) != 1
            state.trusted = bool(leaving) and not state.wants_message and spec.work != "burst"
            self.work.attach(node, spec, None if state.wants_message else entering[0], state)
            return state
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
        if self.work is None:
            return self.engine.run(1, 1 << 60)
        with self.work.stepped.running():
            self.engine.run(1, 1 << 60)
            self.work.slices += 1
        return not self.engine.idle()

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

    def held(self, link: int) -> list[Any]:
        items = self.rings[link].items
        return [item.payload if isinstance(item, Message) else item for item in items]

    def parked(self, node: int) -> int:
        waiting = 0 if self.work is None else self.work.waiting.get(node, 0)
        return len(self.states[node].parked or ()) + waiting

    def errors(self, node: int) -> int:
        return self.states[node].errors

    def close(self) -> None:
        if self.work is not None:
            self.work.close()


class PythonEngines:
    """Opens Meridian's Python engine."""

    name = "python"
    capabilities: Collection[str] = frozenset({Capability.ASYNC, Capability.LIMITS})
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
        parts = {
            "engine_type": kernel,
            "ring_type": kernel.ring_type,
            "limited_ring_type": kernel.limited_ring_type,
            "budget_type": kernel.budget_type,
        }
        self.engine_type = type("RustEngine", (ReferenceEngine,), parts)
