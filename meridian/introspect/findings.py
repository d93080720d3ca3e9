"""Findings: which node, edge or process is the culprit, why, and what to do.

    from meridian.introspect import attach
    from meridian.introspect.findings import find

    with attach(pid) as client:
        before, now = client.snapshot(), client.snapshot()
    for finding in find(now, before):
        print(finding.what)

A snapshot says how things are; a finding says which of them matters. Each rule looks for one kind of trouble, and names where it
begins: not the ten nodes that wait, but the one they wait for.

**Two looks are better than one.** With ``before``, findings speak of the time between the two. Without it they speak of the whole run,
and what only a difference shows (that nothing moved meanwhile) isn't claimed unless the ages of open waits show it.

**Back-pressure that moves is no finding.** A full edge is how a fast producer learns of a slow consumer. An edge is called dead only
after nothing left it for `LONG_S` seconds *and* for `PATIENCE` times as long as one item took until then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from meridian.core.runtime_plan import PriorityBand
from meridian.introspect.errors import (
    NoSocketError,
    NoSuchProcessError,
    NotPermittedError,
    OtherVersionError,
)
from meridian.introspect.server import is_alive
from meridian.redaction import redactor
from meridian.redaction.errors import NOWHERE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from meridian.introspect.errors import IntrospectionError
    from meridian.introspect.model import EdgeSnapshot, NodeSnapshot, Snapshot

Severity = Literal["error", "warning"]

LONG_S = 1.0
"""A wait that is open for so long is worth asking who it waits for."""

STARVED_S = 0.5
"""And so long does no turn wait while the bands share the loop as they should."""

PATIENCE = 5
"""A consumer may be silent for so many times as long as one item took before."""

STORM_PER_S = 5.0
STORM_FAILURES = 5
STORM_SHARE = 0.1
"""A storm: so many failures a second, so many in all, and such a share of what was handled. What fails on less does most of what it
should, however many failures a second that are."""

NEARLY_ALL = 0.9
"""Who waited for this share of the time waits on principle."""

FULL = 0.8
"""Nodes that together take this share of the loop leave none to spare: its own work, and whoever looks, take some too."""

MOST = 0.75
"""A node with this share of what all nodes take is the one to look at; or two or three with it together."""

FEW = 3
COSTLY_S = 0.0005
"""So many nodes share the blame at most, and each takes so long for a message. Where none does, they only keep one another busy."""

SLOW_TURN_S = 0.1
"""A turn that takes so long is felt by everything else; so says the event ``node.slow``."""

HANGS_S = 3.0
"""A hook of a node's life cycle that goes on for so long is worth a look: nothing else moves meanwhile."""

STALLED_S = 10.0
"""A node that awaits something for so long is worth a look, though there is still room for what comes meanwhile."""

LARGE = 1_024
PILED = 0.1
"""More than an edge holds unless told otherwise, and more than this share of all that ever came: that is no burst."""


class Rule(NamedTuple):
    """One kind of trouble.

    Attributes:
        severity: ``error``: it doesn't do what it should; ``warning``: it is slower, or loses more, than it could.
        means: What is found, in one sentence.
    """

    severity: Severity
    means: str


RULES: Mapping[str, Rule] = {
    "process-gone": Rule("error", "There is no such process any more, or only its exit status is left."),
    "process-stopped": Rule("error", "The process was stopped by a signal, or a debugger holds it."),
    "process-frozen": Rule("error", "The process waits inside the system, for a disk or a network file."),
    "not-answering": Rule(
        "error", "The process is there and doesn't answer: something holds its interpreter."
    ),
    "not-served": Rule("error", "The process serves no socket: it wasn't asked to let others look."),
    "not-permitted": Rule("error", "The process, or its socket, belongs to another user."),
    "other-version": Rule("error", "The process runs a Meridian that this one doesn't understand."),
    "loop-stuck": Rule("error", "Code of one node keeps the event loop, so nothing else moves."),
    "start-hangs": Rule("error", "The on_start of a node goes on and on, and the run can't begin."),
    "stop-hangs": Rule("error", "The on_drain or on_stop of a node goes on and on, and the run can't end."),
    "failed-to-start": Rule("error", "A node could not be started and takes no part in the run."),
    "dead-consumer": Rule(
        "error", "An edge is full and the node behind it takes nothing, so others wait for it."
    ),
    "deadlock": Rule("error", "Nodes wait in a circle, each for room on the edge to the next."),
    "starving": Rule("error", "Work of a band waits and isn't served, since a more urgent band takes all."),
    "error-storm": Rule("error", "A node fails again and again, on a tenth of what it handles or more."),
    "lost-to-errors": Rule(
        "error", "Messages are lost because they are invalid, or their coalesce function fails."
    ),
    "ended-stuck": Rule("error", "The run ended with messages that nobody could take any more."),
    "paused": Rule("warning", "A node takes no data for now, and an edge before it is full."),
    "stalled": Rule(
        "warning", "A node takes nothing of what waits, and nobody waits for it only as there is room yet."
    ),
    "bottleneck": Rule(
        "warning", "A node, or two or three, take most of a loop that has no time left, and an input fills."
    ),
    "slow-consumer": Rule(
        "warning", "A node awaits something for most of the time while a producer waits for it."
    ),
    "piling-up": Rule(
        "warning", "More and more messages wait on an edge with a large capacity, and take memory."
    ),
    "slow-handler": Rule("warning", "A turn of a node keeps the loop for a tenth of a second or longer."),
    "node-errors": Rule("warning", "A node fails on some of what it handles."),
    "losses": Rule("warning", "An edge loses messages, as its policy says."),
    "unrouted": Rule("warning", "A node emits on ports that lead nowhere."),
    "replaced": Rule("warning", "Newer messages replace older ones: what a latest edge is for."),
}
"""Every rule there is, the most severe first. Ids are stable: later versions add some, and change none."""

_RANK = {rule: rank for rank, rule in enumerate(RULES)}


@dataclass(frozen=True, slots=True)
class Finding:
    """One culprit.

    Attributes:
        rule: Which kind of trouble; see `RULES`.
        severity: ``error`` or ``warning``.
        node: The node that is to blame, if it is one.
        edge: The edge where it shows, if it is one.
        what: What is seen, in one sentence with numbers.
        why: How that comes about.
        fix: What to do about it.
    """

    rule: str
    severity: Severity
    node: str | None
    edge: str | None
    what: str
    why: str
    fix: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as a plain dict, ready for JSON; texts go through the redaction policy."""
        shown = redactor().text
        return {key: None if value is None else shown(value) for key, value in asdict(self).items()}


def _finding(
    rule: str, what: str, why: str, fix: str, *, node: str | None = None, edge: str | None = None
) -> Finding:
    shown = redactor().text  # names are what users wrote
    return Finding(rule, RULES[rule].severity, node, edge, shown(what), shown(why), shown(fix))


def find(now: Snapshot, before: Snapshot | None = None) -> tuple[Finding, ...]:
    """Name the culprits in a snapshot, or in two that follow each other.

    Args:
        now: The run.
        before: The same run earlier; one of another run, or a later one, is left out of account.

    Returns:
        The most severe first, in the order of `RULES`; of one rule in the order of the graph. The same snapshots give the same
        findings. Nothing is found in a run that does well.

    Cost: O(nodes + edges).
    """
    looks = _Looks(now, before)
    if now.loop.stuck:  # all else that stands still does so for this reason
        checks: tuple[Callable[[_Looks], Iterator[Finding]], ...] = (
            _loop_stuck, _failed_to_start, _errors, _losses, _unrouted,
        )  # fmt: skip
    elif any(node.hook in ("on_start", "on_stop") for node in now.nodes):
        # Until it returns nothing else moves.
        checks = (_hooks_that_hang, _failed_to_start, _errors, _losses, _unrouted)
    elif now.status == "stopped":
        checks = (_failed_to_start, _errors, _losses, _ended_stuck, _unrouted)
    else:
        checks = (
            _hooks_that_hang, _failed_to_start, _dead_consumers, _stalled, _starving, _errors, _losses,
            _bottlenecks, _slow_consumers, _piling_up, _slow_handlers, _unrouted,
        )  # fmt: skip
    found = [finding for check in checks for finding in check(looks)]
    return tuple(sorted(found, key=lambda finding: _RANK[finding.rule]))


class _Looks:
    """Two looks at a run, or one that is compared with its start.

    Attributes:
        now: The later one.
        twice: There are two.
        window_s: Seconds between them, or since the start.
        nodes, edges: Those of now, by name and by id.
        waits: Edges on which somebody waits for room, or that are full before a node with work, by the node that is held.
        inputs, outputs: Edges by the node they enter, and by the node they leave.
    """

    def __init__(self, now: Snapshot, before: Snapshot | None) -> None:
        if before is not None and (before.run != now.run or before.elapsed_s >= now.elapsed_s):
            before = None
        self.now = now
        self._before = before
        self.twice = before is not None
        self.window_s = now.elapsed_s - (0.0 if before is None else before.elapsed_s)
        self.nodes = {node.name: node for node in now.nodes}
        self.edges = {edge.id: edge for edge in now.edges}
        self._nodes_before = {} if before is None else {node.name: node for node in before.nodes}
        self._edges_before = {} if before is None else {edge.id: edge for edge in before.edges}
        self.waits: dict[str, list[EdgeSnapshot]] = {}
        self.inputs: dict[str, list[EdgeSnapshot]] = {}
        self.outputs: dict[str, list[EdgeSnapshot]] = {}
        for edge in now.edges:
            self.inputs.setdefault(edge.target, []).append(edge)
            self.outputs.setdefault(edge.source, []).append(edge)
            if edge.waiting:
                self.waits.setdefault(edge.source, []).append(edge)
        for node in now.nodes:
            if node.name not in self.waits and (full := self.edges.get(node.waits_for or "")) is not None:
                self.waits[node.name] = [full]

    @property
    def when(self) -> str:
        """Say which time is spoken of."""
        return f"in {_seconds(self.window_s)}" if self.twice else "since the start"

    def more(
        self, node: NodeSnapshot, key: Literal["handled", "produced", "errors", "unrouted", "slices"]
    ) -> int:
        """Return by how much a count of a node has grown."""
        past = self._nodes_before.get(node.name)
        grown: int = getattr(node, key) - (0 if past is None else getattr(past, key))
        return max(grown, 0)

    def busy_s(self, node: NodeSnapshot) -> float:
        past = self._nodes_before.get(node.name)
        return max(node.busy_s - (0.0 if past is None else past.busy_s), 0.0)

    def ended_s(self, node: NodeSnapshot) -> float:
        """Return how long those of its turns took that ended; `busy_s` has the one that is open, too."""
        open_s = _open_s(self.now, node) - (0.0 if self._before is None else _open_s(self._before, node))
        return max(self.busy_s(node) - open_s, 0.0)

    def busy(self, node: NodeSnapshot) -> float:
        """Return its share of the loop, at most 1."""
        return min(self.busy_s(node) / self.window_s, 1.0) if self.window_s else 0.0

    @cached_property
    def busy_together(self) -> float:
        """The share of the loop that all nodes take."""
        return sum(map(self.busy, self.now.nodes))

    def delivered(self, edge: EdgeSnapshot) -> int:
        past = self._edges_before.get(edge.id)
        return max(edge.delivered - (0 if past is None else past.delivered), 0)

    def accepted(self, edge: EdgeSnapshot) -> int:
        past = self._edges_before.get(edge.id)
        return max(edge.accepted - (0 if past is None else past.accepted), 0)

    def sends(self, node: NodeSnapshot) -> bool:
        """Say whether a node sent anything between two looks: it may make a great deal of the one message it took."""
        return self.twice and any(map(self.accepted, self.outputs.get(node.name, ())))

    def grown(self, edge: EdgeSnapshot) -> int:
        """Return by how much its depth has grown between two looks."""
        past = self._edges_before.get(edge.id)
        return 0 if past is None else edge.depth - past.depth

    def blocked(self, edge: EdgeSnapshot) -> float:
        """Return for which share of the time somebody waited for room on it."""
        past = self._edges_before.get(edge.id)
        blocked_s = edge.blocked_s - (0.0 if past is None else past.blocked_s)
        return min(max(blocked_s / self.window_s, 0.0), 1.0) if self.window_s else 0.0

    def lost(self, edge: EdgeSnapshot) -> dict[str, int]:
        """Return what was lost, by cause."""
        past = self._edges_before.get(edge.id)
        before = {} if past is None else past.lost
        grown = {cause: n - before.get(cause, 0) for cause, n in sorted(edge.lost.items())}
        return {cause: n for cause, n in grown.items() if n > 0}

    def quiet_s(self, edge: EdgeSnapshot) -> float | None:
        """Return for how long nothing left an edge although something waited; ``None`` if one look can't tell."""
        if not edge.depth:
            return 0.0
        if not edge.delivered:  # the oldest wait is as old as that, and nothing ever left
            return max(edge.wait_age_s or 0.0, edge.head_age_s or 0.0, self._unmoved_s(edge) or 0.0)
        return self._unmoved_s(edge)

    def _unmoved_s(self, edge: EdgeSnapshot) -> float | None:
        past = self._edges_before.get(edge.id)
        if past is None:
            return edge.stalled_s
        if not past.depth or past.delivered != edge.delivered:
            return 0.0
        return max(self.window_s, edge.stalled_s or 0.0)

    def held_s(self, edge: EdgeSnapshot) -> float:
        """Return for how long an edge has been full; at least so long, as far as it shows."""
        if not edge.waiting and edge.depth < edge.capacity:
            return 0.0
        return max(edge.wait_age_s or 0.0, edge.stalled_s or 0.0, self.quiet_s(edge) or 0.0)

    def is_dead(self, edge: EdgeSnapshot) -> bool:
        """Say whether an edge is full and its consumer takes nothing, for longer than it ever took it."""
        held_s = self.held_s(edge)
        if held_s < LONG_S or self.sends(self.nodes[edge.target]):
            return False
        quiet_s = self.quiet_s(edge)
        if quiet_s is None:  # a wait may outlast as many items as the edge holds
            return held_s >= PATIENCE * self.per_item_s(edge, held_s) * edge.capacity
        return quiet_s > 0 and quiet_s >= PATIENCE * self.per_item_s(edge, held_s)

    def per_item_s(self, edge: EdgeSnapshot, quiet_s: float) -> float:
        """Return how long an item of an edge took until the consumer fell silent, so many seconds ago."""
        return max(self.now.elapsed_s - quiet_s, 0.0) / edge.delivered if edge.delivered else 0.0


# ---- what stands still -----------------------------------------------------------------------------------------------


def _loop_stuck(looks: _Looks) -> Iterator[Finding]:
    loop = looks.now.loop
    who = "code" if loop.node is None else f"node {loop.node!r}"
    where = ""
    if loop.stack:
        inner = loop.stack[-1]
        where = f"; it is in {inner}"
    yield _finding(
        "loop-stuck",
        f"{who} has kept the event loop for {_seconds(loop.silent_s)}{where}",
        "its code neither returns nor awaits, and the loop has one thread: until it does, no other node gets a turn",
        "end the loop it is in, await what it waits for, or do that work in a thread: await asyncio.to_thread(...)",
        node=loop.node,
    )


_BY_HOOK = {
    "on_start": (
        "start-hangs",
        "it awaits something, and nodes are started one after the other: until all are, no message moves",
        "see what on_start waits for (a server, a file, a lock), and give that wait a time limit (asyncio.timeout)",
    ),
    "on_drain": (
        "stop-hangs",
        "it awaits something, and the run ends only when it has handed on what it holds",
        "see what on_drain waits for, and give that wait a time limit (asyncio.timeout)",
    ),
    "on_stop": (
        "stop-hangs",
        "it awaits something, and nodes are stopped one after the other; no time limit of the scheduler ends that",
        "see what on_stop waits for, and give that wait a time limit (asyncio.timeout)",
    ),
}


def _hooks_that_hang(looks: _Looks) -> Iterator[Finding]:
    for node in looks.now.nodes:
        if node.hook is None or (node.hook_s or 0.0) < HANGS_S or node.doing == "blocked":
            continue
        rule, why, fix = _BY_HOOK[node.hook]
        yield _finding(
            rule,
            f"{node.hook} of node {node.name!r} has gone on for {_seconds(node.hook_s or 0.0)}{_awaits(node)}",
            why,
            fix,
            node=node.name,
        )


def _failed_to_start(looks: _Looks) -> Iterator[Finding]:
    for node in looks.now.nodes:
        if node.state == "failed":
            error = node.last_error
            yield _finding(
                "failed-to-start",
                f"node {node.name!r} could not be started{'' if error is None else f': {error.type}'}",
                "its on_start raised" + ("" if error is None else _in(error.where)),
                "see what on_start needs: a file, a connection, a setting",
                node=node.name,
            )


def _dead_consumers(looks: _Looks) -> Iterator[Finding]:
    held: dict[str, list[str]] = {}  # who waits, by the edge at the end
    circles: set[str] = set()
    for edge in looks.now.edges:
        if not (edge.waiting or (edge.depth and edge.depth >= edge.capacity)):
            continue
        end, circle = _end_of(looks, edge)
        if circle:
            if all(map(looks.is_dead, circle)) and not circles.intersection(each.id for each in circle):
                circles.update(each.id for each in circle)
                yield _deadlock(looks, circle)
        elif looks.is_dead(end):
            waiting = held.setdefault(end.id, [])
            if edge.waiting and edge.source not in waiting:
                waiting.append(edge.source)
    for id, waiting in held.items():
        end = looks.edges[id]
        node = looks.nodes[end.target]
        if _served_too_seldom(looks, end) is not None:
            continue  # nobody lets it
        yield _dead_consumer(looks, end, node, waiting)


def _end_of(looks: _Looks, edge: EdgeSnapshot) -> tuple[EdgeSnapshot, list[EdgeSnapshot]]:
    """Follow the waits from a full edge on.

    Returns:
        The last edge of the chain, whose consumer waits for no room; and where there is no last one, the edges of the circle.
    """
    path = [edge]
    at = {edge.id: 0}
    while onward := looks.waits.get(path[-1].target):
        following = max(onward, key=lambda each: each.wait_age_s or 0.0)  # the first of equals
        if following.id in at:
            return following, path[at[following.id] :]
        at[following.id] = len(path)
        path.append(following)
    return path[-1], []


_BY_DOING = {
    "working": (
        "it awaits something that doesn't come back",
        "give that wait a time limit (asyncio.timeout), or let it handle several at a time (concurrency=...)",
    ),
    "ready": ("it has work and isn't given a turn", "see what keeps the loop: the busiest node"),
    "running": (
        "its code is on the thread now and doesn't come back",
        "split the work, or do it in a thread",
    ),
    "failed": ("it could not be started", "see why its on_start raised"),
}
_BY_DOING_ELSE = ("it takes nothing, though nothing holds it", "see what its handler waits for")


def _dead_consumer(looks: _Looks, end: EdgeSnapshot, node: NodeSnapshot, waiting: list[str]) -> Finding:
    held_s, who = looks.held_s(end), _names(waiting)
    seen = (
        f"node {node.name!r} has taken nothing from {end.id!r} for {_seconds(held_s)}: "
        f"{_count(end.depth)} of {_count(end.capacity)} wait"
    )
    held = f", and with them {who}" if who else ""
    if node.doing == "paused":
        return _finding(
            "paused",
            f"{seen}{held}",
            "it asked for no data for now",
            "let it go on, or look at what it waits for before it does",
            node=node.name,
            edge=end.id,
        )
    why, fix = _BY_DOING.get(node.doing, _BY_DOING_ELSE)
    if node.doing == "working":
        why = f"{why} ({_under_way(node)})"
    return _finding("dead-consumer", f"{seen}{held}", why, fix, node=node.name, edge=end.id)


def _under_way(node: NodeSnapshot) -> str:
    return f"{_count(node.in_flight)} of its calls {'is' if node.in_flight == 1 else 'are'} under way{_awaits(node)}"


def _awaits(node: NodeSnapshot) -> str:
    return "" if node.waits_in is None else f"; awaits in {node.waits_in}"


def _stalled(looks: _Looks) -> Iterator[Finding]:
    for edge in looks.now.edges:
        node = looks.nodes[edge.target]
        if edge.waiting or edge.depth >= edge.capacity or node.doing != "working" or looks.sends(node):
            continue
        quiet_s = looks.quiet_s(edge) or 0.0
        if quiet_s >= max(STALLED_S, PATIENCE * looks.per_item_s(edge, quiet_s)):
            _, fix = _BY_DOING["working"]
            yield _finding(
                "stalled",
                f"node {node.name!r} has taken nothing from {edge.id!r} for {_seconds(quiet_s)}, and "
                f"{_messages(edge.depth)} wait{'s' if edge.depth == 1 else ''}; there is room for {_count(edge.capacity)}",
                f"it awaits something for far longer than usual, or that doesn't come back ({_under_way(node)})",
                fix,
                node=node.name,
                edge=edge.id,
            )


def _deadlock(looks: _Looks, circle: list[EdgeSnapshot]) -> Finding:
    order = {edge.id: i for i, edge in enumerate(looks.now.edges)}
    first = min(circle, key=lambda edge: order[edge.id])
    at = circle.index(first)
    names = [edge.source for edge in circle[at:] + circle[:at]]
    longest_s = max(looks.held_s(edge) for edge in circle)
    return _finding(
        "deadlock",
        f"nodes {_names(names)} have waited for each other for {_seconds(longest_s)}",
        "each waits for room on the edge to the next, and all of these edges are full",
        "let one edge of the circle lose messages (drop, latest), raise its capacity, or send less around",
        node=first.source,
        edge=first.id,
    )


def _ended_stuck(looks: _Looks) -> Iterator[Finding]:
    left = [edge for edge in looks.now.edges if edge.depth]
    if looks.now.reason == "stuck" and left:
        most = max(left, key=lambda edge: edge.depth)
        yield _finding(
            "ended-stuck",
            f"the run ended stuck with {_messages(sum(edge.depth for edge in left))}, "
            f"{_count(most.depth)} of them on {most.id!r}",
            f"nothing could happen any more, and node {most.target!r} took none of them",
            "look for nodes that wait for each other in a circle, or that failed to start",
            node=most.target,
            edge=most.id,
        )


# ---- who is served ---------------------------------------------------------------------------------------------------


def _served_too_seldom(looks: _Looks, edge: EdgeSnapshot) -> list[NodeSnapshot] | None:
    """Return the nodes of more urgent bands that keep an edge from being served, or ``None`` if it is."""
    node = looks.nodes[edge.target]
    if not edge.depth or node.doing not in ("ready", "idle"):
        return None
    quiet_s = looks.quiet_s(edge)
    if quiet_s is None or quiet_s < STARVED_S:
        return None
    own = PriorityBand[edge.band]
    takers: dict[str, NodeSnapshot] = {}
    for other in looks.now.edges:
        if PriorityBand[other.band] > own and looks.delivered(other):
            takers.setdefault(other.target, looks.nodes[other.target])
    if sum(map(looks.busy, takers.values())) < 0.5:
        return None
    return sorted(takers.values(), key=lambda each: -looks.busy(each))


def _starving(looks: _Looks) -> Iterator[Finding]:
    starved: dict[str, list[tuple[EdgeSnapshot, list[NodeSnapshot]]]] = {}
    for edge in looks.now.edges:
        takers = _served_too_seldom(looks, edge)
        if takers is not None:
            starved.setdefault(edge.band, []).append((edge, takers))
    for band, found in starved.items():
        edge, takers = max(found, key=lambda each: looks.quiet_s(each[0]) or 0.0)
        others = len(found) - 1
        elsewhere = f", and on {_count(others)} other edge{'s' if others > 1 else ''}" if others else ""
        busy = ", ".join(f"{each.name!r} {_share(looks.busy(each))}" for each in takers[:3])
        weights = ":".join(str(each.weight) for each in looks.now.scheduler.bands)
        yield _finding(
            "starving",
            f"band {band} isn't served: node {edge.target!r} has had no turn for {_seconds(looks.quiet_s(edge) or 0.0)}, "
            f"with {_messages(edge.depth)} on {edge.id!r}{elsewhere}",
            f"more urgent bands take the loop ({busy}); they share it {weights}, and a long turn counts as one",
            "put less into the urgent bands, shorten their handlers, or give this band a larger share (fairness_ratio)",
            node=edge.target,
            edge=edge.id,
        )


# ---- what goes wrong -------------------------------------------------------------------------------------------------


_BY_ERROR = {
    "meridian.core.errors.PayloadError": (
        "an edge refuses what it sends, since that doesn't fit the schema of the port",
        "see what it sends, or correct the schema; the losses with cause invalid name the edge",
    ),
}
_BY_ERROR_ELSE = (
    "its code raises, and the run goes on with the next message",
    "read the class and the place; if the input is to blame, declare a schema on the port, so that it is refused before",
)


def _errors(looks: _Looks) -> Iterator[Finding]:
    for node in looks.now.nodes:
        failures = looks.more(node, "errors")
        if not failures or node.state == "failed":
            continue
        handled = looks.more(node, "handled")
        per_s = failures / looks.window_s if looks.window_s else 0.0
        storm = failures >= STORM_FAILURES and per_s >= STORM_PER_S and failures >= STORM_SHARE * handled
        of = f", {_share(min(failures / handled, 1.0))} of what it handled" if handled else ""
        error = node.last_error
        last = "" if error is None else f"; the last is {error.type}{_in(error.where)}"
        why, fix = _BY_ERROR.get("" if error is None else error.type, _BY_ERROR_ELSE)
        yield _finding(
            "error-storm" if storm else "node-errors",
            f"node {node.name!r} failed {_times(failures)} {looks.when} ({per_s:,.1f} per second{of}){last}",
            why,
            fix,
            node=node.name,
        )


_BY_CAUSE = {
    "dropped": (
        "losses",
        "it is full, and its policy drops what comes then",
        "make node {target!r} faster, raise the capacity, or let the edge block",
    ),
    "expired": (
        "losses",
        "they waited for longer than the edge's max_age_s",
        "make node {target!r} faster, or raise max_age_s",
    ),
    "undelivered": (
        "losses",
        "nobody could take them any more when the run ended",
        "give it more time to drain (shutdown_timeout_s)",
    ),
    "replaced": (
        "replaced",
        "newer messages take the place of older ones, as its policy says",
        "nothing, if only the newest counts; else let the edge block, or make node {target!r} faster",
    ),
    "invalid": (
        "lost-to-errors",
        "they don't fit the schema of the port",
        "see what node {source!r} emits, or correct the schema",
    ),
    "coalesce_error": (
        "lost-to-errors",
        "the function that merges two messages raised, so the newer one replaced the older",
        "correct the function of the coalesce policy; the event edge.loss names what it raised and where",
    ),
}
_BY_CAUSE_ELSE = ("losses", "the cause is {cause!r}", "see the event edge.loss")


def _losses(looks: _Looks) -> Iterator[Finding]:
    for edge in looks.now.edges:
        for cause, n in looks.lost(edge).items():
            rule, why, fix = _BY_CAUSE.get(cause, _BY_CAUSE_ELSE)
            per_s = n / looks.window_s if looks.window_s else 0.0
            yield _finding(
                rule,
                f"edge {edge.id!r} lost {_messages(n)} {looks.when} ({per_s:,.1f} per second), "
                f"cause {cause}, policy {edge.policy}",
                why.format(cause=cause),
                fix.format(source=edge.source, target=edge.target),
                node=edge.source if cause == "invalid" else edge.target,
                edge=edge.id,
            )


def _unrouted(looks: _Looks) -> Iterator[Finding]:
    for node in looks.now.nodes:
        n = looks.more(node, "unrouted")
        if n:
            yield _finding(
                "unrouted",
                f"node {node.name!r} emitted {_messages(n)} {looks.when} on outputs that lead nowhere",
                "no edge leaves that output, so what is emitted there is gone",
                "connect the output, or don't emit there",
                node=node.name,
            )


# ---- what is slow ----------------------------------------------------------------------------------------------------


def _bottlenecks(looks: _Looks) -> Iterator[Finding]:
    if looks.window_s < STARVED_S or looks.busy_together < FULL:
        return  # a burst; or the loop has time
    most = _busiest(looks)
    filling = [each for node in most for each in looks.inputs.get(node.name, ()) if _fills(each)]
    if filling:
        edge = max(filling, key=lambda each: each.depth / max(each.capacity, 1))
        names = _names(node.name for node in most)
        busy = " and ".join(_share(looks.busy(node)) for node in most)
        yield _finding(
            "bottleneck",
            f"{'node' if len(most) == 1 else 'nodes'} {names} {'was' if len(most) == 1 else 'were'} busy {busy} of the time "
            f"{looks.when}, and {_count(edge.depth)} of {_count(edge.capacity)} wait on {edge.id!r}",
            f"all nodes share one thread, and {'this one takes' if len(most) == 1 else 'these take'} most of it",
            f"make {'its' if len(most) == 1 else 'their'} code faster, give {'it' if len(most) == 1 else 'them'} less, "
            "or move the work to a thread or another process",
            node=edge.target,
            edge=edge.id,
        )


def _busiest(looks: _Looks) -> list[NodeSnapshot]:
    """Return the nodes that take most of the loop, in the order of the graph: one, or a few that are costly each, or none."""
    least_s = MOST * looks.busy_together
    ranked = sorted(looks.now.nodes, key=looks.busy, reverse=True)[:FEW]
    for n in range(1, len(ranked) + 1):
        if sum(map(looks.busy, ranked[:n])) >= least_s:
            most = ranked[:n]
            if n > 1 and not all(_is_costly(looks, node) for node in most):
                return []
            return [node for node in looks.now.nodes if node in most]
    return []


def _is_costly(looks: _Looks, node: NodeSnapshot) -> bool:
    return looks.busy_s(node) >= COSTLY_S * max(looks.more(node, "handled"), looks.more(node, "produced"), 1)


def _fills(edge: EdgeSnapshot) -> bool:
    return bool(edge.waiting) or 2 * edge.depth >= edge.capacity > 0


def _slow_consumers(looks: _Looks) -> Iterator[Finding]:
    if looks.window_s < STARVED_S or looks.busy_together >= FULL:
        return  # a burst; or the loop is what is short
    told: set[str] = set()
    for edge in looks.now.edges:
        if not edge.waiting or looks.blocked(edge) < NEARLY_ALL:
            continue
        end, circle = _end_of(looks, edge)
        node = looks.nodes[end.target]
        if circle or end.id in told or not node.in_flight or looks.is_dead(end):
            continue
        told.add(end.id)
        yield _finding(
            "slow-consumer",
            f"node {node.name!r} takes {looks.delivered(end) / looks.window_s:,.1f} messages per second from {end.id!r}, "
            f"and node {edge.source!r} waited for room {_share(looks.blocked(edge))} of the time {looks.when}",
            f"it awaits something for most of the time ({_count(node.in_flight)} at a time), and the nodes leave the loop time",
            "let it work on several at a time (concurrency=...), or make what it awaits faster",
            node=node.name,
            edge=end.id,
        )


def _piling_up(looks: _Looks) -> Iterator[Finding]:
    for edge in looks.now.edges:
        grown = looks.grown(edge)
        if not LARGE < edge.depth < edge.capacity or edge.depth < PILED * edge.accepted or grown <= 0:
            continue
        left_s = (edge.capacity - edge.depth) / grown * looks.window_s
        yield _finding(
            "piling-up",
            f"{_count(edge.depth)} messages wait on {edge.id!r}, {_count(grown)} more than {_seconds(looks.window_s)} ago; "
            f"it has room for {_count(edge.capacity)}, and is full in {_seconds(left_s)}",
            f"node {edge.source!r} sends more than node {edge.target!r} takes, and doesn't wait while there is room",
            f"make node {edge.target!r} faster, or lower the capacity (or set max_bytes), so that the producer waits",
            node=edge.target,
            edge=edge.id,
        )


def _open_s(shot: Snapshot, node: NodeSnapshot) -> float:
    """Return how long the turn has taken that a node is in, or 0 if it is in none."""
    return shot.loop.silent_s if shot.loop.node == node.name else 0.0


def _slow_handlers(looks: _Looks) -> Iterator[Finding]:
    for node in looks.now.nodes:
        turns = looks.more(node, "slices")
        runs_s = _open_s(looks.now, node)
        turn_s = max(looks.ended_s(node) / turns if turns else 0.0, runs_s)
        if turn_s >= SLOW_TURN_S:
            yield _finding(
                "slow-handler",
                f"a turn of node {node.name!r} "
                + (
                    f"has taken {_seconds(turn_s)} up to now"
                    if turn_s == runs_s
                    else f"took {_seconds(turn_s)} on average {looks.when}"
                ),
                "the loop has one thread: for so long no other node gets a turn, and no timer fires",
                "split the work, or do it in a thread: await asyncio.to_thread(...)",
                node=node.name,
            )


# ---- a process that doesn't answer -----------------------------------------------------------------------------------


def find_unreachable(pid: int | None, error: IntrospectionError) -> Finding:
    """Say why a process can't be looked at.

    Args:
        pid: The process, if it is known.
        error: What `attach` or a `Client` raised.
    """
    who = "the process" if pid is None else f"process {pid}"
    if isinstance(error, NotPermittedError):
        return _finding(
            "not-permitted",
            str(error),
            "only the user it runs as, and root, may look at a process",
            "look as that user",
        )
    if isinstance(error, OtherVersionError):
        return _finding(
            "other-version", str(error), "snapshots differ", "use the Meridian it was started with"
        )
    if isinstance(error, NoSuchProcessError) or (pid is not None and not is_alive(pid)):
        return _gone(who)
    state = None if pid is None else _state_of(pid)
    if state in ("Z", "X"):
        return _gone(who)
    if state in ("T", "t"):
        held = (
            "a debugger holds it"
            if state == "t"
            else "a signal stopped it (SIGSTOP, SIGTSTP, or its terminal)"
        )
        return _finding(
            "process-stopped",
            f"{who} is stopped: nothing in it moves",
            held,
            "let the debugger go on" if state == "t" else f"let it go on: kill -CONT {pid}",
        )
    if isinstance(error, NoSocketError):
        return _finding(
            "not-served",
            str(error),
            "nobody may look unless the process allows it",
            "start it with MERIDIAN_INSPECT=1, meridian run --inspect, or Scheduler(inspect=True)",
        )
    if state == "D":
        return _finding(
            "process-frozen",
            f"{who} waits inside the system and can't be interrupted",
            "a read or write of a disk or network file doesn't come back",
            f"see what it waits for: cat /proc/{pid}/wchan, and whether that device or server is there",
        )
    seen = {"R": " and uses a processor", "S": " and sleeps"}.get(state or "", "")
    return _finding(
        "not-answering",
        f"{who} is there{seen}, and doesn't answer: {error}",
        "something holds its interpreter: native code that doesn't let go of it, or a processor that is given to others",
        "see the stacks of its threads: py-spy dump --native --pid " + ("PID" if pid is None else str(pid)),
    )


def _gone(who: str) -> Finding:
    return _finding(
        "process-gone",
        f"{who} has ended",
        "there is no such process, or only its exit status is left",
        "see its exit code and its last log lines; a bundle can be collected from the project without it",
    )


def _state_of(pid: int) -> str | None:
    """Return the letter that Linux gives the state of a process, or ``None`` where that isn't told."""
    try:
        said = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    for line in said.splitlines():
        key, _, value = line.partition(":")
        if key == "State":
            return value.split()[0] if value.split() else None
    return None


# ---- words -----------------------------------------------------------------------------------------------------------


def _seconds(value: float) -> str:
    if value >= 7_200:
        return f"{value / 3_600:,.0f} h"
    if value >= 120:
        return f"{value / 60:,.0f} min"
    return f"{value:.1f} s" if value >= 1 else f"{value * 1000:.0f} ms"


def _share(value: float) -> str:
    return f"{value * 100:.0f} %"


def _count(n: int) -> str:
    return f"{n:,}"


def _messages(n: int) -> str:
    return f"{_count(n)} message{'' if n == 1 else 's'}"


def _times(n: int) -> str:
    return "once" if n == 1 else f"{_count(n)} times"


def _in(where: str) -> str:
    return "" if where == NOWHERE else f" in {where}"


def _names(names: Iterable[str]) -> str:
    every = list(names)
    shown = ", ".join(map(repr, every[:3]))
    return shown if len(every) <= 3 else f"{shown} and {_count(len(every) - 3)} more"
