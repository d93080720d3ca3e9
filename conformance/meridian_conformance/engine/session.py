"""One history on one engine, judged after every slice.

The kit is the world in which the engine's nodes work, so it knows what was emitted and what was handled, by whom and in
which order. What must be true then follows by counting, whatever the engine's schedule was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from meridian_conformance.engine.contract import MAX_BATCH, Graph, WorkError
from meridian_conformance.failures import Step, Trace
from meridian_conformance.require import RuleViolation, require, seen
from meridian_conformance.session import Broken

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SPARE_SLICES: Final = 30
"""So many slices in a row without any message are a sign of spinning; waking everybody once takes fewer in the kit's graphs."""


class Record:
    """A `World` that writes down all that happens in it.

    Attributes:
        emitted: Items that each node emitted, in order.
        handled: Data that was handled, by edge, in order.
        obeyed: CONTROL that was handled, by edge, in order.
        raised: How often each node failed.
        ended: Sources that have no more items.
        did: What happened since `begin`: (node, edge) of each message, edge -1 for an item of a source, -2 for CONTROL.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.emitted: list[list[int]] = [[] for _ in graph.nodes]
        self.handled: list[list[int]] = [[] for _ in graph.links]
        self.obeyed: list[list[int]] = [[] for _ in graph.links]
        self.raised = [0] * len(graph.nodes)
        self.count = [0] * len(graph.nodes)
        self.ended: set[int] = set()
        self.did: list[tuple[int, int]] = []
        self.parked_before: list[int] = []
        self.serial = 0

    def new(self) -> int:
        """Return an item that there wasn't before."""
        self.serial += 1
        return self.serial

    def produce(self, node: int) -> Iterator[int]:
        for _ in range(self.graph.nodes[node].items):
            item = self.new()
            self.did.append((node, -1))
            self.emitted[node].append(item)
            yield item
        self.ended.add(node)

    def handle(self, node: int, link: int, item: Any) -> Iterator[int]:
        self.did.append((node, link))
        self.handled[link].append(item)
        self.count[node] += 1
        return self._results(node, self.count[node])

    def _results(self, node: int, nth: int) -> Iterator[int]:
        work = self.graph.nodes[node].work
        if work == "fail" and nth % 3 == 0:
            self.raised[node] += 1
            raise WorkError("this node always fails at its third item")
        for _ in range({"sink": 0, "burst": 3}.get(work, 1)):
            item = self.new()
            self.emitted[node].append(item)
            yield item

    def handle_control(self, node: int, link: int, item: Any) -> None:
        self.did.append((node, -2))
        self.obeyed[link].append(item)


class EngineSession:
    """One engine, its world, and what was done so far.

    Args:
        backend: Who opens the engine.
        graph: What it runs.
    """

    def __init__(self, backend: Any, graph: Graph) -> None:
        self.graph = graph
        self.steps: list[Step] = []
        self.world = Record(graph)
        self.engine = backend.open(graph, self.world)
        self.offered: list[list[int]] = [[] for _ in graph.links]
        self.refused: list[int] = [0 for _ in graph.links]
        self.sent: list[list[int]] = [[] for _ in graph.links]
        self.paused: set[int] = set()
        self.was_paused: set[int] = set()
        self.waits = [0] * len(graph.links)
        self.control_waits = [0] * len(graph.links)
        self.idle = 0
        self._broken: list[RuleViolation] = []

    def _require(self, rule: str, holds: object, **facts: Any) -> None:
        if not holds:
            try:
                require(rule, False, **facts)
            except RuleViolation as violation:
                if all(other.rule != rule for other in self._broken):
                    self._broken.append(violation)

    def play(self, step: Step) -> None:
        """Do one step: ``step(n)``, ``offer(edge)``, ``control(edge)``, ``pause(node)``, ``resume(node)`` or ``drain()``.

        Raises:
            Broken: it broke rules.
        """
        told = getattr(self, f"_{step.op}")(*step.args)
        self.steps.append(Step(step.op, step.args, None, told))
        if step.op not in ("step", "drain"):  # these judge after every slice
            self._judge_totals()
        if self._broken:
            raise Broken(self._broken, self.steps)

    # ---- steps -----------------------------------------------------------------------------------------------

    def _step(self, n: int = 1) -> str:
        ran = 0
        for _ in range(n):
            if self._broken:
                break
            more = self._slice()
            ran += 1
            self._judge_totals()
            if not more:
                self._judge_rest()
                break
        return f"{ran} slices"

    def _drain(self) -> str:
        limit = 60 * (10 + sum(node.items for node in self.graph.nodes) + self.world.serial)
        for n in range(limit):
            if self._broken:
                return "broken"
            more = self._slice()
            self._judge_totals()
            if not more:
                self._judge_rest()
                return f"{n + 1} slices"
        self._require("ENGINE-511", False, slices=limit, still="something is said to be due")
        return "endless"

    def _offer(self, link: int) -> str:
        item = self.world.new()
        result = str(self.engine.offer(link, item))
        if result != "BLOCKED":
            self.offered[link].append(item)
        return result

    def _control(self, link: int) -> str:
        if self.graph.nodes[self.graph.links[link].target].style != "call":
            return "not for this node"
        item = self.world.new()
        result = str(self.engine.control(link, item))
        if result == "OK":
            self.sent[link].append(item)
            if self.engine.depth(link) > 1:
                seen("ENGINE-505", "CONTROL came while data waited")
        return result

    def _pause(self, node: int) -> str:
        self.engine.pause(node)
        self.paused.add(node)
        self.was_paused.add(node)
        return "paused"

    def _resume(self, node: int) -> str:
        self.engine.resume(node)
        self.paused.discard(node)
        return "resumed"

    # ---- one slice -------------------------------------------------------------------------------------------

    def _slice(self) -> bool:
        engine, world, graph = self.engine, self.world, self.graph
        world.did.clear()
        parked = [engine.parked(node) for node in range(len(graph.nodes))]
        ready = [self._may_be_served(n) for n in range(len(graph.links))]
        pending = [len(self.sent[n]) - len(world.obeyed[n]) for n in range(len(graph.links))]
        errors = sum(world.raised)
        more = bool(engine.step())
        did = list(world.did)
        data = [(node, link) for node, link in did if link >= 0]
        self._require("ENGINE-507", len(did) <= MAX_BATCH, messages=len(did), most=MAX_BATCH)
        if len(did) > 1:
            seen("ENGINE-507", "a slice of several messages")
        for node, link in did:
            if link == -2:
                continue
            self._require("ENGINE-510", node not in self.paused, data_for=node, paused=sorted(self.paused))
            self._require("ENGINE-504", not parked[node], ran=node, parked=parked[node])
        if any(parked):
            seen("ENGINE-504", "a slice while emissions were parked")
        if self.paused:
            seen("ENGINE-510", "a slice while a node was paused")
        if sum(world.raised) > errors:
            seen("ENGINE-508", "a handler raised")
        progress = bool(did) or [engine.parked(node) for node in range(len(graph.nodes))] != parked
        self.idle = 0 if progress else self.idle + 1
        if any(self.engine.depth(n) >= link.capacity for n, link in enumerate(graph.links)):
            seen("ENGINE-511", "a slice while an edge was full")
        self._require("ENGINE-511", self.idle <= SPARE_SLICES, slices_without_a_message=self.idle)
        self._judge_control(did, pending, parked)
        self._judge_turns(data, ready, any(link == -2 for _, link in did))
        return more

    def _may_be_served(self, n: int) -> bool:
        """Say whether an edge has data that its node may take now for sure: nothing waits behind it."""
        target = self.graph.links[n].target
        return (
            self.engine.depth(n) > len(self.sent[n]) - len(self.world.obeyed[n])
            and target not in self.paused
            and not self.engine.parked(target)
            and not any(self.engine.depth(out) for out in self.graph.leaving(target))
        )

    def _judge_turns(self, data: list[tuple[int, int]], ready: list[bool], control: bool) -> None:
        """Every edge is served in its turn: nobody twice before it, but for what comes with waking and ending."""
        bound = len(self.graph.links) + 2 * len(self.graph.nodes)
        served = {link for _, link in data}
        for n, was_ready in enumerate(ready):
            if n in served or not was_ready:
                self.waits[n] = 0
            elif not control:
                self.waits[n] += 1
                if self.waits[n] == 1:
                    seen("ENGINE-506", "an edge with data waited for its turn")
            self._require(
                "ENGINE-506", self.waits[n] <= bound, edge=n, slices_of_others=self.waits[n], bound=bound
            )

    def _judge_control(self, did: list[tuple[int, int]], pending: list[int], parked: list[int]) -> None:
        """CONTROL is handled before the second slice of data, if its node is free."""
        others = any(link != -2 for _, link in did)
        first = sum(link == -2 for _, link in did)
        for n, waiting in enumerate(pending):
            target = self.graph.links[n].target
            left = len(self.sent[n]) - len(self.world.obeyed[n])
            if not waiting or left < waiting or parked[target] or first:
                self.control_waits[n] = 0
                continue
            self.control_waits[n] += others
            self._require(
                "ENGINE-505", self.control_waits[n] <= 1, edge=n, slices_of_others=self.control_waits[n]
            )

    # ---- totals ----------------------------------------------------------------------------------------------

    def _judge_totals(self) -> None:
        engine, world, graph = self.engine, self.world, self.graph
        accepted_of: dict[int, set[int]] = {}
        for n, link in enumerate(graph.links):
            told, depth = engine.counters(n), engine.depth(n)
            lost = sum(told["lost"].values())
            accepted = told["accepted"]
            kept = told["delivered"] + depth + told["merged"] + lost
            self._require("ENGINE-501", accepted == kept, edge=n, accepted=accepted, accounted_for=kept)
            self._require("ENGINE-501", depth <= link.capacity, edge=n, depth=depth, capacity=link.capacity)
            handled = len(world.handled[n]) + len(world.obeyed[n])
            self._require(
                "ENGINE-501",
                told["delivered"] == handled or self._in_generator(link.target, told["delivered"] - handled),
                edge=n,
                delivered=told["delivered"],
                handled=handled,
            )
            from_node = accepted - len(self.offered[n]) - len(self.sent[n])
            accepted_of.setdefault(link.source, set()).add(from_node)
            if depth == link.capacity:
                seen("ENGINE-501", "an edge was full")
            if lost or told["merged"]:
                seen("ENGINE-501", "an edge lost or merged items")
            self._judge_order(n)
        for node, counts in accepted_of.items():
            parked = engine.parked(node)
            if len(graph.leaving(node)) > 1:
                self._require("ENGINE-502", len(counts) == 1, node=node, accepted_by_its_edges=sorted(counts))
                if parked:
                    seen("ENGINE-502", "an emission to several edges had no room on one")
            if len(counts) == 1:
                (count,) = counts
                emitted = len(world.emitted[node])
                self._require(
                    "ENGINE-501",
                    emitted == count + parked,
                    node=node,
                    emitted=emitted,
                    accepted=count,
                    parked=parked,
                )
        for node, raised in enumerate(world.raised):
            self._require(
                "ENGINE-508",
                engine.errors(node) == raised,
                node=node,
                raised=raised,
                recorded=engine.errors(node),
            )

    def _in_generator(self, node: int, n: int) -> bool:
        """Say whether a message was taken by a node that pulls results from it, and hasn't begun yet."""
        return self.graph.nodes[node].style == "stream" and 0 <= n <= 1

    def _judge_order(self, n: int) -> None:
        """What was handled stands in what was put, in that order; with ``block`` nothing is missing in between."""
        link, world = self.graph.links[n], self.world
        obeyed, sent = world.obeyed[n], self.sent[n]
        self._require("ENGINE-503", obeyed == sent[: len(obeyed)], edge=n, sent=sent, obeyed=obeyed)
        handled, emitted = world.handled[n], world.emitted[link.source]
        if len(handled) > 1:
            seen("ENGINE-503", "an edge delivered several items")
        mine = set(emitted)
        for came, put in (
            ([item for item in handled if item in mine], emitted),
            ([item for item in handled if item not in mine], self.offered[n]),
        ):
            if link.policy == "block":
                self._require(
                    "ENGINE-503", came == put[: len(came)], edge=n, put=put[-20:], handled=came[-20:]
                )
            else:
                left = iter(put)
                self._require(
                    "ENGINE-503",
                    all(item in left for item in came),
                    edge=n,
                    put=put[-20:],
                    handled=came[-20:],
                )

    def _judge_rest(self) -> None:
        """Nothing is due: then nothing is left that could move."""
        if self._broken:
            return
        engine, graph = self.engine, self.graph
        stuck = self._held_up()
        seen("ENGINE-509", "nothing was due any more")
        if stuck:
            seen("ENGINE-510", "nothing was due while a node was paused")
        elif self.was_paused:
            seen("ENGINE-510", "a resumed graph drained")
        rule = "ENGINE-510" if self.was_paused and not self.paused else "ENGINE-509"
        for n, link in enumerate(graph.links):
            if link.target not in stuck:
                self._require(rule, not engine.depth(n), edge=n, left_behind=engine.depth(n))
            control = len(self.sent[n]) - len(self.world.obeyed[n])
            if not engine.parked(link.target):
                self._require("ENGINE-505", not control, edge=n, control_left_behind=control)
        for node, spec in enumerate(graph.nodes):
            if node in stuck:
                continue
            self._require(rule, not engine.parked(node), node=node, left_parked=engine.parked(node))
            if spec.style == "source":
                self._require(rule, node in self.world.ended, source=node, items_left="some")

    def _held_up(self) -> set[int]:
        """Return the nodes that are paused, and those that may wait for them."""
        stuck = set(self.paused)
        grew = True
        while grew:
            waiting = {
                link.source for link in self.graph.links if link.target in stuck and link.policy == "block"
            }
            grew = not waiting <= stuck
            stuck |= waiting
        return stuck

    def summary(self) -> str:
        """Return all that an engine answers, in a form that can be compared between engines."""
        engine, world = self.engine, self.world
        edges = [
            (engine.depth(n), sorted(engine.counters(n).items(), key=str), world.handled[n], world.obeyed[n])
            for n in range(len(self.graph.links))
        ]
        nodes = [(engine.parked(node), engine.errors(node)) for node in range(len(self.graph.nodes))]
        return repr((edges, nodes))


def play(backend: Any, graph: Graph, steps: Iterable[Step]) -> EngineSession:
    """Play a history.

    Raises:
        Broken: it broke rules.
    """
    session = EngineSession(backend, graph)
    for step in steps:
        session.play(step)
    return session


def replayed(backend: Any, trace: Trace) -> tuple[Step, ...]:
    """Play a failure file; return its steps with what came of them.

    Raises:
        Broken: it broke rules.
    """
    return tuple(play(backend, Graph.from_json(trace.spec), trace.steps).steps)
