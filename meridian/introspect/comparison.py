"""Comparing two reports, two snapshots or two profiles: what changed for each node and edge, and what got worse.

Both come from files, so nothing in them is taken for granted. What was not measured in both of them is not compared.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from meridian.introspect.model import SCHEMA_VERSION, as_plain
from meridian.introspect.profile import PROFILE_VERSION

COMPARISON_VERSION = "1.0"
"""``MAJOR.MINOR`` of the keys of a comparison."""

MOST_BYTES = 256 * 1024 * 1024
"""A file that is longer is not read."""

ENOUGH = 10
"""The time for each message is compared where so many were handled in both."""

TRIFLE_S, TRIFLE_SHARE = 10e-6, 0.01
"""The time for each message isn't compared where it differs by less and the node takes less of the loop, in both: how many messages come
at a time decides it then, and not the node's code."""

SAME_WITHIN = 0.05
"""What differs by this share or less is called the same, unless somebody says otherwise: percentiles are off by 1/32 themselves, and
rates of two runs of one graph differ by some hundredths for no reason."""

LARGEST, SMALLEST = 1e18, 1e-18
"""A larger number can't be compared, and what is smaller is 0: so shares, rates and their changes stay finite."""


class ComparisonError(ValueError):
    """These two can't be compared; the text says why."""


class Metric(NamedTuple):
    """Something that is compared.

    Attributes:
        unit: ``1/s``, ``s``, ``share`` or ``n``.
        worse: ``more`` or ``less`` of it is worse, or ``""`` if neither is.
        floor: A difference below is none.
    """

    unit: str
    worse: str
    floor: float = 0.0


METRICS: Mapping[str, Metric] = {
    "lost": Metric("share", "more"),
    "errors": Metric("share", "more"),
    "delivered_per_s": Metric("1/s", "less", 0.1),
    "handled_per_s": Metric("1/s", "less", 0.1),
    "produced_per_s": Metric("1/s", "less", 0.1),
    "elapsed_s": Metric("s", "more", 1e-3),
    "per_message_s": Metric("s", "more", 50e-9),
    "hop_p50_s": Metric("s", "more", 1e-6),
    "hop_p99_s": Metric("s", "more", 1e-6),
    "blocked": Metric("share", "more", 0.01),
    "full": Metric("share", "more", 0.01),
    "loop_lag_s": Metric("s", "more", 1e-3),
    "busy": Metric("share", "", 0.01),
    "depth": Metric("n", "", 1.0),
    "merged": Metric("share", "", 0.01),
}
"""What is compared, what matters most first.

``lost`` and ``merged`` are shares of what an edge accepted, ``errors`` of what a node handled, so that stretches of time of different
length can be compared. ``lost`` is told for each cause, too, as ``lost.CAUSE``. ``elapsed_s`` is compared for runs that ended because all was done."""


@dataclass(frozen=True, slots=True)
class SideComparison:
    """One of the two.

    Attributes:
        name: Of its file.
        kind: ``report``, ``snapshot`` or ``profile``.
        meridian: Version of the runtime, or ``None`` if it doesn't say.
        engine: Which engine ran.
        status: ``running`` or ``stopped``.
        seconds: So long a time it is about.
    """

    name: str
    kind: str
    meridian: str | None
    engine: str
    status: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Change:
    """One number that changed.

    Attributes:
        of: ``run``, ``node`` or ``edge``.
        name: Name of the node, id of the edge, or ``""``. Where several are called the same (a redaction policy may do that), with
            its place among them: ``NAME (2 of 3)``.
        metric: What was compared.
        unit: ``1/s``, ``s``, ``share`` or ``n``.
        before: In the first.
        after: In the second.
        change: Their difference as a share of the first, or ``None`` if that is 0.
        same: The difference is too small to mean anything; see `Comparison.same_within`.
        worse: It got worse; ``None`` where nobody can say, or where it is the same.
        over: It got worse by more than the limit.
    """

    of: str
    name: str
    metric: str
    unit: str
    before: float
    after: float
    change: float | None
    same: bool
    worse: bool | None
    over: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What changed between two.

    Attributes:
        kind: ``comparison``.
        schema_version: Of these keys; see `COMPARISON_VERSION`.
        before: The first.
        after: The second.
        same_within: What differs by this share or less is the same.
        limit: By how large a share something may get worse, or ``None`` for no limit.
        passed: There is no limit; or nothing got worse by more, nothing that was there is gone, and nothing is unmatched.
        nodes_gone: Nodes that only the first has.
        nodes_new: Nodes that only the second has.
        edges_gone: Edges that only the first has.
        edges_new: Edges that only the second has.
        nodes_unmatched: Names that several nodes have, of which there are not as many in both: nobody can say which is which, so
            they are not compared.
        edges_unmatched: Ids of edges of which that is true.
        changes: What changed, the most important first.
    """

    kind: str
    schema_version: str
    before: SideComparison
    after: SideComparison
    same_within: float
    limit: float | None
    passed: bool
    nodes_gone: tuple[str, ...]
    nodes_new: tuple[str, ...]
    edges_gone: tuple[str, ...]
    edges_new: tuple[str, ...]
    nodes_unmatched: tuple[str, ...]
    edges_unmatched: tuple[str, ...]
    changes: tuple[Change, ...]

    SHAPES: ClassVar[tuple[type, ...]] = (SideComparison, Change)
    """What it is made of, for the schema."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain dicts, lists, texts and numbers, ready for JSON; texts go through the redaction policy."""
        return as_plain(self)


class Measured(NamedTuple):
    """What one file says, in numbers that can be compared.

    Attributes:
        side: What it is.
        run: Of the whole run, by metric.
        nodes: Of each node, by metric. By name, and where several are called the same, in the order of the file.
        edges: Of each edge, by metric; so are they, by id.
    """

    side: SideComparison
    run: dict[str, float]
    nodes: dict[str, list[dict[str, float]]]
    edges: dict[str, list[dict[str, float]]]


def compare(
    before: Measured,
    after: Measured,
    *,
    limit: float | None = None,
    only: Collection[str] = (),
    same_within: float = SAME_WITHIN,
) -> Comparison:
    """Say what changed.

    Args:
        before: The first.
        after: The second.
        limit: By how large a share something may get worse, 0.1 for a tenth; or ``None``. What was 0 may not grow at all.
        only: Metrics to compare; all, if it is empty.
        same_within: What differs by this share or less is the same, and neither better nor worse. A smaller limit takes its place.

    Raises:
        ComparisonError: they are of two kinds, or have nothing in common.
    """
    one, other = before.side, after.side
    if one.kind != other.kind:
        raise ComparisonError(
            f"{one.name} is a {one.kind} and {other.name} a {other.kind}: compare two of one kind"
        )
    common = before.nodes.keys() & after.nodes.keys()
    if not common and (before.nodes or after.nodes):
        raise ComparisonError(
            f"{one.name} and {other.name} are of different graphs: they have no node in common"
        )
    if limit is not None:
        same_within = min(same_within, limit)
    changes = [
        change
        for of, name, was, now in (
            ("run", "", before.run, after.run),
            *(("node", *pair) for pair in _pairs(before.nodes, after.nodes)),
            *(("edge", *pair) for pair in _pairs(before.edges, after.edges)),
        )
        for change in _changes(of, name, was, now, same_within, limit, only)
    ]
    rank = {metric: i for i, metric in enumerate(METRICS)}
    changes.sort(
        key=lambda each: (
            not each.over,
            each.same,
            each.worse is not True,
            each.worse is None,
            rank[each.metric.partition(".")[0]],
            -_size(each),
        )
    )
    nodes_gone, edges_gone = _missing(before.nodes, after.nodes), _missing(before.edges, after.edges)
    nodes_unmatched = _unmatched(before.nodes, after.nodes)
    edges_unmatched = _unmatched(before.edges, after.edges)
    amiss = nodes_gone or edges_gone or nodes_unmatched or edges_unmatched
    return Comparison(
        kind="comparison",
        schema_version=COMPARISON_VERSION,
        before=one,
        after=other,
        same_within=same_within,
        limit=limit,
        passed=limit is None or not (amiss or any(each.over for each in changes)),
        nodes_gone=nodes_gone,
        nodes_new=_missing(after.nodes, before.nodes),
        edges_gone=edges_gone,
        edges_new=_missing(after.edges, before.edges),
        nodes_unmatched=nodes_unmatched,
        edges_unmatched=edges_unmatched,
        changes=tuple(changes),
    )


def _changes(
    of: str,
    name: str,
    before: Mapping[str, float],
    after: Mapping[str, float],
    same_within: float,
    limit: float | None,
    only: Collection[str],
) -> list[Change]:
    made = []
    for key in {**before, **after}:
        kind = key.partition(".")[0]
        if only and key not in only and kind not in only:
            continue
        # A cause that one of them doesn't list has lost nothing; anything else wasn't measured.
        missing = 0.0 if kind == "lost" else None
        was, now = before.get(key, missing), after.get(key, missing)
        if was is None or now is None or was == now:
            continue
        unit, worse_if, floor = METRICS[kind]
        difference = now - was
        if abs(difference) < floor or (kind == "per_message_s" and _is_trifle(difference, before, after)):
            continue
        change = difference / was if was else None
        same = change is not None and abs(change) <= same_within
        worse = None if same or not worse_if else (difference > 0) == (worse_if == "more")
        over = limit is not None and worse is True and (change is None or abs(change) > limit)
        made.append(Change(of, name, key, unit, was, now, change, same, worse, over))
    return made


def _is_trifle(difference: float, before: Mapping[str, float], after: Mapping[str, float]) -> bool:
    """Say whether a difference in the time for each message is too small for anybody to feel."""
    most = max(node.get("busy", 1.0) for node in (before, after))
    return abs(difference) < TRIFLE_S and most < TRIFLE_SHARE


def _size(change: Change) -> float:
    """Return how large a change is: a factor, whichever way."""
    if not change.before or not change.after:
        return math.inf
    return abs(math.log(change.after) - math.log(change.before))


def _pairs(
    before: Mapping[str, list[dict[str, float]]], after: Mapping[str, list[dict[str, float]]]
) -> Iterator[tuple[str, dict[str, float], dict[str, float]]]:
    """Yield what is in both, with its name; those that are called the same one by one, by their place."""
    for name, were in before.items():
        are = after.get(name, [])
        n = len(were)
        if n != len(are):
            continue
        for i, (was, now) in enumerate(zip(were, are, strict=True), 1):
            yield name if n == 1 else f"{name} ({i} of {n})", was, now


def _unmatched(before: Mapping[str, list[Any]], after: Mapping[str, list[Any]]) -> tuple[str, ...]:
    """Return the names that not as many have in both."""
    return tuple(name for name in before if name in after and len(before[name]) != len(after[name]))


def _missing(there: Mapping[str, Any], here: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in there if name not in here)


# ---- reading ---------------------------------------------------------------------------------------------------------


def measure(text: bytes | str, name: str) -> Measured:
    """Read what ``meridian run --json``, ``meridian profile``, ``meridian top --once --json`` or `Snapshot.as_json` wrote.

    Args:
        text: What the file holds.
        name: What to call it.

    Raises:
        ComparisonError: it is none of these, or damaged.
    """
    try:
        data = json.loads(text)
    except RecursionError:
        raise ComparisonError(f"{name} is nested too deeply to be a report, snapshot or profile") from None
    except UnicodeDecodeError:
        raise ComparisonError(f"{name} is no JSON: it isn't text") from None
    except ValueError as error:
        raise ComparisonError(f"{name} is no JSON, or was cut short: {error}") from None
    shots = data.get("snapshots") if isinstance(data, dict) else None
    if isinstance(shots, list):
        if len(shots) != 1:
            raise ComparisonError(f"{name} holds {len(shots)} snapshots: give a file with one")
        data = shots[0]
    if not isinstance(data, dict) or not ("nodes" in data and "edges" in data and "status" in data):
        failed = " (it says that a command failed)" if isinstance(data, dict) and "error" in data else ""
        raise ComparisonError(f"{name} is no report, snapshot or profile{failed}")
    return _measured(_Reader(data, name))


def _measured(told: _Reader) -> Measured:
    version = told.data.get("schema_version")
    kind = "report"
    if version is not None:
        kind = "profile" if told.data.get("kind") == "profile" else "snapshot"
        known = PROFILE_VERSION if kind == "profile" else SCHEMA_VERSION
        if not isinstance(version, str) or version.partition(".")[0] != known.partition(".")[0]:
            raise ComparisonError(
                f"{told.name} is a {kind} of schema {version!r}: this Meridian reads {known.partition('.')[0]}.x"
            )
    seconds = told.number("window_s" if kind == "profile" else "elapsed_s")
    run = _run(told, kind, seconds)
    nodes = told.each("nodes", "name", lambda node: _node(node, kind, seconds))
    edges = told.each("edges", "id", lambda edge: _edge(edge, kind, seconds))
    engine = told.data.get("engine")
    version = told.data.get("meridian", told.data.get("version"))
    side = SideComparison(
        name=told.name,
        kind=kind,
        meridian=version if isinstance(version, str) else None,
        engine=str(engine.get("name") if isinstance(engine, dict) else engine),
        status=told.text("status"),
        seconds=seconds,
    )
    return Measured(side, run, nodes, edges)


def _run(told: _Reader, kind: str, seconds: float) -> dict[str, float]:
    made = {}
    if kind != "profile" and told.data.get("reason") == "finished":
        made["elapsed_s"] = seconds
    if kind == "profile":
        lag = told.within("loop").optional("lag_s")
        if lag is not None:
            made["loop_lag_s"] = lag.number("p50")
    return made


def _node(node: _Reader, kind: str, seconds: float) -> dict[str, float]:
    handled, produced, busy_s = node.number("handled"), node.number("produced"), node.number("busy_s")
    n = handled or produced
    made = {"errors": node.number("errors") / max(n, 1.0)}
    if n >= ENOUGH:
        made["per_message_s"] = busy_s / n
    if seconds:
        made["handled_per_s"], made["produced_per_s"] = handled / seconds, produced / seconds
        made["busy"] = busy_s / seconds
        if kind != "report":
            made["blocked"] = min(node.number("blocked_s") / seconds, 1.0)
    return made


def _edge(edge: _Reader, kind: str, seconds: float) -> dict[str, float]:
    lost = edge.within("lost")
    accepted = max(edge.number("accepted"), 1.0)
    causes = {f"lost.{cause}": lost.number(cause) / accepted for cause in lost.data}
    made = {"lost": sum(causes.values()), **causes, "merged": edge.number("merged") / accepted}
    if seconds:
        made["delivered_per_s"] = edge.number("delivered") / seconds
        made["blocked"] = min(edge.number("blocked_s") / seconds, 1.0)
    if kind == "profile":
        made["depth"], made["full"] = edge.number("depth_median"), edge.number("full")
    else:
        made["depth"] = edge.number("depth")
    if kind != "report" and (hop := edge.optional("hop_s")) is not None:
        made["hop_p50_s"], made["hop_p99_s"] = hop.number("p50"), hop.number("p99")
    return made


class _Reader:
    """One object of a file; whatever isn't as it should be is told with its place, and never with its value."""

    def __init__(self, data: Any, name: str, place: str = "") -> None:
        if not isinstance(data, dict):
            raise ComparisonError(f"{name}: {place or 'it'} is no object")
        self.data: dict[str, Any] = data
        self.name = name
        self._place = place

    def number(self, key: str) -> float:
        value = self.data.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._wrong(key, "is no number" if key in self.data else "is missing")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not 0 <= number <= LARGEST:  # nor if it is none
            raise self._wrong(key, "is no number that can be compared")
        return number if number >= SMALLEST else 0.0

    def text(self, key: str) -> str:
        value = self.data.get(key)
        if not isinstance(value, str):
            raise self._wrong(key, "is no text" if key in self.data else "is missing")
        return value

    def within(self, key: str) -> _Reader:
        return _Reader(self.data.get(key), self.name, self._at(key))

    def optional(self, key: str) -> _Reader | None:
        return None if self.data.get(key) is None else self.within(key)

    def each(
        self, key: str, by: str, measured: Callable[[_Reader], dict[str, float]]
    ) -> dict[str, list[dict[str, float]]]:
        """Return what the objects of a list say, by their names."""
        listed = self.data.get(key)
        if not isinstance(listed, list):
            raise self._wrong(key, "is no list")
        made: dict[str, list[dict[str, float]]] = {}
        for i, each in enumerate(listed):
            told = _Reader(each, self.name, f"{self._at(key)}[{i}]")
            made.setdefault(told.text(by), []).append(measured(told))
        return made

    def _at(self, key: str) -> str:
        return f"{self._place}.{key}" if self._place else key

    def _wrong(self, key: str, how: str) -> ComparisonError:
        return ComparisonError(f"{self.name}: {self._at(key)} {how}")
