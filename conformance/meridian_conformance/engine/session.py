"""One history on one engine, judged after every slice.

The kit is the world in which the engine's nodes work, so it knows what was emitted and what was handled, by whom and in
which order. What must be true then follows by counting, whatever the engine's schedule was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from meridian_conformance.contract import Capability, optional
from meridian_conformance.engine.contract import LARGEST, MAX_BATCH, Graph
from meridian_conformance.engine.limits import LimitsJudge
from meridian_conformance.engine.order import OrderJudge
from meridian_conformance.engine.world import Record
from meridian_conformance.failures import Step, Trace
from meridian_conformance.require import seen
from meridian_conformance.session import Judged

if TYPE_CHECKING:
    from collections.abc import Iterable

SPARE_SLICES: Final = 30
"""So many slices in a row without any message are a sign of spinning; waking everybody once takes fewer in the kit's graphs."""

_WORDS: Final = {"finish": "work finished", "fail": "work failed", "cancel": "work was cancelled"}


class EngineSession(Judged):
    """One engine, its world, and what was done so far.

    Args:
        backend: Who opens the engine.
        graph: What it runs.
    """

    def __init__(self, backend: Any, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self.world = Record(graph)
        self.engine = backend.open(graph, self.world)
        self.offered: list[list[int]] = [[] for _ in graph.links]
        self.sent: list[list[int]] = [[] for _ in graph.links]
        self.paused: set[int] = set()
        self.was_paused: set[int] = set()
        self.waits = [0] * len(graph.links)
        self.control_waits = [0] * len(graph.links)
        self.idle = 0
        self._leaving = [graph.leaving(node) for node in range(len(graph.nodes))]
        self._order = [
            OrderJudge(n, link, self.offered[n], self.sent[n], self.require)
            for n, link in enumerate(graph.links)
        ]
        limited = Capability.LIMITS in graph.needs()
        self._limits = LimitsJudge(graph, self.world, self.engine, self.require) if limited else None
        self._may_stall = graph.budget is not None and graph.budget < least_budget(graph)

    def close(self) -> None:
        """Let go of the engine."""
        close = optional(self.engine, "close")
        if close is not None:
            close()

    def play(self, step: Step) -> None:
        """Do one step.

        ``step(n)`` runs slices, ``drain()`` runs them until nothing is due and no work goes on, which it lets end, the oldest first.
        ``offer(edge)`` and ``control(edge)`` put something on an edge, ``pause(node)`` and ``resume(node)`` do that.
        ``finish(k)``, ``fail(k)`` and ``cancel(k)`` end the k-th work in progress; ``hurry(n)`` lets the next ones end at once.
        ``wait(seconds)`` lets time pass.

        Raises:
            Broken: it broke rules.
        """
        told = getattr(self, f"_{step.op}")(*step.args)
        self.steps.append(Step(step.op, step.args, None, told))
        if step.op not in ("step", "drain"):  # these judge after every slice
            self._judge_totals()
        self.stop_if_broken()

    # ---- steps -----------------------------------------------------------------------------------------------

    def _step(self, n: int = 1) -> str:
        ran = 0
        for _ in range(n):
            if self.broken:
                break
            more = self._slice()
            ran += 1
            self._judge_totals()
            if not more:
                self._judge_rest()
                break
        return f"{ran} slices"

    def _drain(self) -> str:
        limit = 300 * (10 + sum(node.items for node in self.graph.nodes) + self.world.serial)
        for n in range(limit):
            if self.broken:
                return "broken"
            more = self._slice()
            self._judge_totals()
            if not more:
                self._judge_rest()
                if not self.world.in_work:
                    return f"{n + 1} slices"
                self._end(0, "finish")
                self._judge_totals()
        self.require("ENGINE-511", False, slices=limit, still="something is said to be due")
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

    def _finish(self, k: int) -> str:
        return self._end(k, "finish")

    def _fail(self, k: int) -> str:
        return self._end(k, "fail")

    def _cancel(self, k: int) -> str:
        return self._end(k, "cancel")

    def _end(self, k: int, how: str) -> str:
        world, engine = self.world, self.engine
        if not world.in_work:
            return "nothing in work"
        work = world.in_work[k % len(world.in_work)]
        world.did.clear()
        hurried = world.hurried
        world.end(work, how)
        if world.working(work.node):
            seen("ENGINE-512", f"{_WORDS[how]} while other work of its node went on")
        for node, link in world.did:
            self.require("ENGINE-510", node not in self.paused, data_for=node, paused=sorted(self.paused))
            if not hurried:
                self.require("ENGINE-504", not engine.parked(node), began=node, parked=engine.parked(node))
            self.waits[link] = 0
        return f"{_WORDS[how]} of node {work.node}"

    def _hurry(self, n: int) -> str:
        self.world.hurried += n
        return "hurries"

    def _wait(self, seconds: float) -> str:
        self.world.now += seconds
        return "waited"

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
        self.require("ENGINE-507", len(did) <= MAX_BATCH, messages=len(did), most=MAX_BATCH)
        if len(did) > 1:
            seen("ENGINE-507", "a slice of several messages")
        for node, link in did:
            if link == -2:
                continue
            if node in self.paused:
                self.require("ENGINE-510", False, data_for=node, paused=sorted(self.paused))
            if parked[node]:
                self.require("ENGINE-504", False, ran=node, parked=parked[node])
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
        self.require("ENGINE-511", self.idle <= SPARE_SLICES, slices_without_a_message=self.idle)
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
            and not any(self.engine.depth(out) for out in self._leaving[target])
            and not self.world.working(target)
            and self.graph.budget is None
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
            if self.waits[n] > bound:
                self.require("ENGINE-506", False, edge=n, slices_of_others=self.waits[n], bound=bound)

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
            self.require(
                "ENGINE-505", self.control_waits[n] <= 1, edge=n, slices_of_others=self.control_waits[n]
            )

    # ---- totals ----------------------------------------------------------------------------------------------

    def _judge_totals(self) -> None:
        engine, world, graph = self.engine, self.world, self.graph
        accepted_of: dict[int, set[int]] = {}
        for n, link in enumerate(graph.links):
            told, depth = engine.counters(n), engine.depth(n)
            lost = sum(told["lost"].values())
            accepted, delivered = told["accepted"], told["delivered"]
            handled = len(world.handled[n]) + len(world.obeyed[n])
            kept = delivered + depth + told["merged"] + lost
            if accepted != kept:
                self.require("ENGINE-501", False, edge=n, accepted=accepted, accounted_for=kept)
            if depth > link.capacity:
                self.require("ENGINE-501", False, edge=n, depth=depth, capacity=link.capacity)
            if delivered != handled and not self._in_generator(link.target, delivered - handled):
                self.require("ENGINE-501", False, edge=n, delivered=delivered, handled=handled)
            from_node = accepted - len(self.offered[n]) - len(self.sent[n])
            accepted_of.setdefault(link.source, set()).add(from_node)
            if depth == link.capacity:
                seen("ENGINE-501", "an edge was full")
            if lost or told["merged"]:
                seen("ENGINE-501", "an edge lost or merged items")
            self._order[n].look(world.handled[n], world.obeyed[n], world.emitted(link.source))
        for node, counts in accepted_of.items():
            parked = engine.parked(node)
            if len(self._leaving[node]) > 1:
                if self._may_stall:  # nor has the budget room for every emission on all its edges
                    continue
                self.require("ENGINE-502", len(counts) == 1, node=node, accepted_by_its_edges=sorted(counts))
                if parked:
                    seen("ENGINE-502", "an emission to several edges had no room on one")
            if len(counts) == 1:
                (count,) = counts
                self._judge_emitted(node, count, parked)
        if self._limits is not None:
            self._limits.look([len(sent) - len(world.obeyed[n]) for n, sent in enumerate(self.sent)])
        for node, spec in enumerate(graph.nodes):
            raised, recorded = world.raised[node], engine.errors(node)
            if raised != recorded:
                self.require("ENGINE-508", False, node=node, raised=raised, recorded=recorded)
            most = world.most[node]
            if most > spec.concurrency:
                self.require("ENGINE-513", False, node=node, at_once=most, concurrency=spec.concurrency)
            if most and world.working(node) == spec.concurrency:
                seen("ENGINE-513", "a node worked on as many as it may")

    def _judge_emitted(self, node: int, accepted: int, parked: int) -> None:
        """What a node's code gave out, and what its engine says to have done with that."""
        world, spec = self.world, self.graph.nodes[node]
        emitted = len(world.emitted(node))
        rule = "ENGINE-501"
        if spec.style == "async":
            others = world.working(node) if spec.concurrency > 1 else 0
            if others and emitted < len(world.results(node)):
                seen("ENGINE-515", "a result waited for its turn")
            elif others and not spec.ordered and emitted:
                seen("ENGINE-515", "a result did not wait for others")
            # While others are at work something may be out of turn; afterwards it is lost or doubled.
            rule = "ENGINE-515" if others and accepted + parked <= len(world.results(node)) else "ENGINE-512"
        self.require(
            rule, emitted == accepted + parked, node=node, emitted=emitted, accepted=accepted, parked=parked
        )

    def _in_generator(self, node: int, n: int) -> bool:
        """Say whether a message was taken by a node that pulls results from it, and hasn't begun yet."""
        return self.graph.nodes[node].style == "stream" and 0 <= n <= 1

    def _judge_rest(self) -> None:
        """Nothing is due: then nothing is left that could move."""
        if self.broken:
            return
        engine, graph = self.engine, self.graph
        stuck = self._held_up()
        seen("ENGINE-509", "nothing was due any more")
        if self.paused:
            seen("ENGINE-510", "nothing was due while a node was paused")
        elif self.was_paused:
            seen("ENGINE-510", "a resumed graph drained")
        if self.world.in_work:
            seen("ENGINE-514", "nothing was due while work went on")
        if self._limits is not None and self._limits.scarce and not stuck:
            seen("ENGINE-524", "a graph that was short of its budget drained")
        self._judge_works()
        rule = self._rule_at_rest()
        for n, link in enumerate(graph.links):
            if link.target not in stuck:
                self.require(rule, not engine.depth(n), edge=n, left_behind=engine.depth(n))
            control = len(self.sent[n]) - len(self.world.obeyed[n])
            if not engine.parked(link.target):
                self.require("ENGINE-505", not control, edge=n, control_left_behind=control)
        for node, spec in enumerate(graph.nodes):
            if node in stuck:
                continue
            self.require(rule, not engine.parked(node), node=node, left_parked=engine.parked(node))
            if spec.style == "source":
                self.require(rule, node in self.world.ended, source=node, items_left="some")

    def _data(self, n: int) -> int:
        return int(self.engine.depth(n)) - len(self.sent[n]) + len(self.world.obeyed[n])

    def _rule_at_rest(self) -> str:
        """Return the rule that is broken if something is left: by what could have kept it."""
        if self.was_paused and not self.paused:
            return "ENGINE-510"
        if self._limits is not None and self._limits.scarce:
            return "ENGINE-524"
        return "ENGINE-514" if self.world.in_work else "ENGINE-509"

    def _judge_works(self) -> None:
        """Work that ended has given out its results, and free places are taken by what waits for one."""
        engine, graph, world = self.engine, self.graph, self.world
        for node, spec in enumerate(graph.nodes):
            if spec.style != "async" or engine.parked(node):
                continue
            forgotten = sum(work.state == "ended" for work in world.works[node])
            self.require("ENGINE-512", not forgotten, node=node, results_never_taken=forgotten)
            taken = world.places(node)
            if node in self.paused or not 0 < taken < spec.concurrency or graph.budget is not None:
                continue
            room = min(
                (
                    graph.links[n].capacity - engine.depth(n)
                    for n in self._leaving[node]
                    if graph.links[n].policy == "block"
                ),
                default=spec.concurrency,
            )
            limited = any(graph.links[n].max_bytes is not None for n in self._leaving[node])
            waiting = sum(map(self._data, graph.entering(node)))
            if room > taken and not limited:
                seen("ENGINE-513", "a node that worked had places free")
                self.require(
                    "ENGINE-513",
                    not waiting,
                    node=node,
                    places_taken=taken,
                    waiting_for_it=waiting,
                    room=room,
                )

    def _held_up(self) -> set[int]:
        """Return the nodes that are paused or at work, and those that may wait for them."""
        stuck = self.paused | {work.node for work in self.world.in_work}
        if self._may_stall or (stuck and self.graph.budget is not None):
            return set(range(len(self.graph.nodes)))
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
    try:
        for step in steps:
            session.play(step)
    finally:
        session.close()
    return session


def least_budget(graph: Graph) -> int:
    """Return the smallest byte budget that must never stall a graph: a step for each edge of the longest way.

    A step is as large as the largest emission, which counts on all edges that it goes to.
    """
    return graph.longest_way() * LARGEST * max(len(graph.leaving(node)) for node in range(len(graph.nodes)))


def replayed(backend: Any, trace: Trace) -> tuple[Step, ...]:
    """Play a failure file; return its steps with what came of them.

    Raises:
        Broken: it broke rules.
    """
    return tuple(play(backend, Graph.from_json(trace.spec), trace.steps).steps)
