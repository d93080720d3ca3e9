"""Assembly: the plan as the engine sees it, put together piece by piece.

A ring is made when something is first put on its edge, and the engine's record of a function node when the first message
is on its way to it. So a large graph begins to run at once, and what never sees a message costs next to nothing. Nodes
written as classes, and sources, are there from the start: they have hooks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Never, cast

from meridian.core.edge import checks_itself
from meridian.core.function import FnNode, SourceNode
from meridian.core.node import ports_of
from meridian.core.policies import ErrorPolicy
from meridian.core.ports import PortDirection
from meridian.core.schema import guaranteed

if TYPE_CHECKING:
    from meridian.core.node import Node
    from meridian.engine.kernel import PythonEngine
    from meridian.engine.node import NodeState
    from meridian.engine.ring import LimitedRing, Ring
    from meridian.runtime.plan import Plan, PlannedEdge

_OUT = PortDirection.OUTPUT


class Assembly:
    """Rings and node states of one run, by their index in the plan.

    Args:
        plan: What was declared.
        engine: What runs it.
        clock: Nanoseconds.
        bands: Band of each edge that isn't NORMAL, by id.
        bind: Connects a node's code with the engine; called once for each node state, with its index.
        on_loss: Called with edge id, cause, number and error when messages are lost.
    """

    def __init__(
        self,
        plan: Plan,
        engine: PythonEngine,
        clock: Callable[[], int],
        bands: dict[str, int],
        bind: Callable[[int, Node, NodeState], None],
        on_loss: Callable[[str, str, int, BaseException | None], None],
    ) -> None:
        self.plan = plan
        self.engine = engine
        engine.make_node = self.state
        self._clock = clock
        self.bands = bands
        self._bind = bind
        self._on_loss = on_loss
        self._lock = threading.RLock()  # another thread's put may be what makes a ring
        self._budgets = [None if limit is None else engine.budget_type(limit) for limit in plan.budgets]
        self._states: list[NodeState | None] = [None] * len(plan.nodes)
        self._rings: list[Ring | None] = [None] * len(plan.edges)
        self._by_id: dict[str, int] | None = None
        self._shares: list[int] | None = None
        leaving: list[list[int] | None] = [None] * len(plan.nodes)
        for i, planned in enumerate(plan.edges):
            out = leaving[planned.source]
            if out is None:
                leaving[planned.source] = [i]
            else:
                out.append(i)
        self._leaving = leaving

    def join(self) -> None:
        """Let the edges take part in this run.

        Raises:
            RuntimeError: one of them takes part in another.
        """
        for i, planned in enumerate(self.plan.edges):
            planned.edge.join(self, i)

    # ---- rings -----------------------------------------------------------------------------------------------

    def ring(self, i: int) -> Ring:
        """Return the ring of edge ``i``, making it on first use, from any thread."""
        made = self._rings[i]
        if made is not None:
            return made
        with self._lock:
            made = self._rings[i]
            return self._make_ring(i) if made is None else made

    def _make_ring(self, i: int) -> Ring:
        planned = self.plan.edges[i]
        budget = self._budgets[planned.graph]
        ring = planned.edge.make_ring(budget, self._clock, type(self.engine))
        ring.id = planned.id
        if budget is not None:
            if self._shares is None:
                self._shares = self.plan.budget_shares()
            budget.add(cast("LimitedRing", ring), self._shares[i])
        ring.on_loss = self._on_loss
        self.engine.attach(ring, planned.target, planned.target_port, self.bands.get(planned.id, 2))
        self._rings[i] = ring
        if ring.depth():  # put on it before it was attached
            self.engine.knock(ring)
        return ring

    def ring_of(self, id: str) -> Ring | None:
        """Return the ring of the edge with that id, or ``None`` if there is no such edge."""
        if self._by_id is None:
            self._by_id = {planned.id: i for i, planned in enumerate(self.plan.edges)}
        i = self._by_id.get(id)
        return None if i is None else self.ring(i)

    def known_rings(self) -> Iterator[tuple[PlannedEdge, Ring | None]]:
        """Yield every edge with its ring, or ``None`` where nothing was ever put."""
        return zip(self.plan.edges, self._rings, strict=True)

    def known_ring(self, i: int) -> Ring | None:
        """Return the ring of edge ``i`` if it has one."""
        return self._rings[i]

    def all_rings(self) -> list[Ring]:
        """Return every ring there is."""
        return [ring for ring in self._rings if ring is not None]

    def wake_leftovers(self) -> None:
        """Queue what was put before the run, or left by the one before."""
        for i, planned in enumerate(self.plan.edges):
            if planned.edge.has_ring():
                ring = self.ring(i)
                if ring.items:
                    self.engine.wake(ring, True)
                if ring.control:
                    self.engine.wake_control(ring, True)

    # ---- nodes -----------------------------------------------------------------------------------------------

    def state(self, i: int) -> NodeState:
        """Return the engine's record of node ``i``, making it on first use."""
        made = self._states[i]
        return self._make_state(i) if made is None else made

    def _make_state(self, i: int) -> NodeState:
        name, node = self.plan.nodes[i]
        outputs: Any = node.outputs
        ports: dict[str, list[Ring]] = {
            port.name: [] for port in (outputs if outputs.__class__ is list else ports_of(outputs, _OUT))
        }
        schemas: list[Any] = []
        for j in self._leaving[i] or ():
            planned = self.plan.edges[j]
            ports[planned.port].append(self.ring(j))
            spec = planned.edge.spec
            schemas.append(Never if checks_itself(spec) else getattr(spec, "schema", None))
        if isinstance(node, FnNode):
            function = node.function
            state = self.engine.add_node(i, name, function.kind, function.fn, ports)
            state.wants_message = state.enveloped = function.wants_message
            # An ERROR message may stand among the results.
            plain = function.on_error is not ErrorPolicy.EMIT_ERROR
            state.trusted = plain and function.trusted and _guaranteed(node, state, schemas)
        elif isinstance(node, SourceNode):
            state = self.engine.add_node(i, name, "source", None, ports)
            state.trusted = node.trusted and _guaranteed(node, state, schemas)
        else:
            state = self.engine.add_node(i, name, "call", None, ports)
            state.wants_message = True
            state.max_parked = node.max_parked
        state.error_policy = node.error_policy
        self._states[i] = state
        self._bind(i, node, state)
        return state

    def known_states(self) -> Iterator[NodeState]:
        """Yield the records of the nodes that have one."""
        return (state for state in self._states if state is not None)

    def known_state(self, i: int) -> NodeState | None:
        """Return the record of node ``i`` if it has one."""
        return self._states[i]

    # ---- all of it -------------------------------------------------------------------------------------------

    def complete(self) -> None:
        """Make everything now."""
        for i in range(len(self._states)):
            self.state(i)
        for i in range(len(self._rings)):
            self.ring(i)

    def take_apart(self) -> None:
        """Let go of edges and rings; what they hold stays on them."""
        for planned in self.plan.edges:
            planned.edge.leave(self)
        self.engine.detach()
        for planned in self.plan.edges:
            planned.edge.recount()


def _guaranteed(node: Node, state: NodeState, schemas: list[Any]) -> bool:
    """Say whether the annotated type of the one output fits every edge that leaves it."""
    spec = node.outputs[0].spec
    return all(
        ring.check is None or (spec is not None and guaranteed(spec.schema, taken))
        for ring, taken in zip(state.rings, schemas, strict=True)
    )
