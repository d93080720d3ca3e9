"""All that is known of one node, edge, event or finding, as lines of text."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from meridian.inspect import words
from meridian.inspect.history import distribution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from meridian.inspect.history import History
    from meridian.introspect import EdgeSnapshot, Finding, NodeSnapshot, Percentiles, Snapshot
    from meridian.observability.events import Event

HEAD = 14
"""Cells of what stands before a value."""

BAR = 20
"""Cells of a bar of a histogram, at the most."""


def of_node(node: NodeSnapshot, shot: Snapshot, history: History, width: int) -> list[str]:
    """Return what there is to say of a node.

    Args:
        node: The node.
        shot: The snapshot that it is of.
        history: What looks before have shown.
        width: Cells of a line.
    """
    lines = [
        f"NODE {node.name}",
        _line("type", node.type),
        _line("doing", f"{words.MARKS.get(node.doing, '?')} {node.doing} ({node.state})"),
        *([_line("in", f"{node.hook}, for {words.seconds(node.hook_s)}")] if node.hook else []),
        _line("waits for", node.waits_for or "nothing"),
        *([_line("awaits in", str(node.waits_in))] if node.waits_in is not None else []),
        _line("waiting", words.seconds(node.wait_age_s)),
        _line("handled", f"{node.handled:,}"),
        *([_line("produced", f"{node.produced:,}")] if node.produced else []),
        _line("per second", words.short(words.rate(node))),
        _line("slices", f"{node.slices:,}"),
        _line("busy", f"{node.busy_s:.3f} s"),
        _line("blocked", f"{node.blocked_s:.3f} s"),
        _line("in flight", f"{node.in_flight:,}"),
        _line("parked", f"{node.parked:,}"),
        _line("errors", f"{node.errors:,}"),
    ]
    for head, spent in (("recently", node.recent), ("since start", node.shares)):
        if spent is not None:
            said = " ".join(
                f"{words.percent(part)} {name}"
                for name, part in (("busy", spent.busy), ("blocked", spent.blocked), ("idle", spent.idle))
            )
            lines += [_line(head, said), _line("", words.shares(spent, BAR))]
    lines += _not_kept(history)
    lines += _spark("busy", history.of(node.name, "busy"), width, 1.0, words.percent)
    lines += _spark("per second", history.of(node.name, "rate"), width)
    if node.last_error is not None:
        error = node.last_error
        lines += ["", "LAST ERROR", f"{error.type} in {error.phase}", f"at {error.where}", error.message]
    if shot.loop.stuck and shot.loop.node in (None, node.name):
        lines += ["", "STACK OF THE LOOP, outermost first"]
        lines += [f"{frame.function} {frame.file}:{frame.line}" for frame in shot.loop.stack]
    lines += ["", "EDGES"]
    for edge in shot.edges:
        if node.name in (edge.source, edge.target):
            arrow = "→" if edge.source == node.name else "←"
            other = edge.target if edge.source == node.name else edge.source
            lines.append(f"{arrow} {words.fill(edge.depth, edge.capacity)} {words.short(edge.depth)} {other}")
    return lines


def of_edge(edge: EdgeSnapshot, history: History, width: int) -> list[str]:
    """Return what there is to say of an edge; see `of_node`."""
    limits = [f"{edge.capacity:,} items"]
    if edge.max_bytes is not None:
        limits.append(f"{edge.max_bytes:,} bytes")
    if edge.max_age_s is not None:
        limits.append(words.seconds(edge.max_age_s))
    lines = [
        f"EDGE {edge.id}",
        _line("policy", f"{edge.policy}, band {edge.band}"),
        _line("limits", ", ".join(limits)),
        _line("depth", f"{edge.depth:,} {words.gauge(edge.depth / max(edge.capacity, 1), 10)}"),
        *([_line("bytes", f"{edge.bytes:,}")] if edge.bytes is not None else []),
        _line("accepted", f"{edge.accepted:,} ({words.short(edge.accepted_per_s)}/s)"),
        _line("delivered", f"{edge.delivered:,} ({words.short(edge.delivered_per_s)}/s)"),
        *([_line("merged", f"{edge.merged:,}")] if edge.merged else []),
        _line("lost", f"{words.lost(edge):,} ({words.short(edge.lost_per_s)}/s)"),
        *(_line("", f"{n:,} {cause}") for cause, n in edge.lost.items() if n),
        _line("waits", f"{edge.waits:,}, open {edge.waiting:,}"),
        _line("oldest wait", words.seconds(edge.wait_age_s)),
        _line("age of head", words.seconds(edge.head_age_s or None)),
        _line("stalled", words.seconds(edge.stalled_s)),
    ]
    lines += _not_kept(history)
    depths = history.of(edge.id, "depth")
    lines += _spark("depth", depths, width, edge.capacity)
    lines += _spark("out/s", history.of(edge.id, "rate"), width)
    lines += _spark("lost/s", history.of(edge.id, "lost"), width)
    if edge.hop_s is not None:
        lines += ["", f"TIME ON THE EDGE, {edge.hop_s.n:,} timed", *_percentiles(edge.hop_s)]
    if depths:
        lines += ["", f"DEPTH IN {len(depths)} LOOKS"]
        bins = distribution(depths)
        most = max(n for _, _, n in bins)
        lines += [
            f"{words.short(round(low)):>5}–{words.short(round(high)):<5} {'█' * round(BAR * n / most)} {n}"
            for low, high, n in bins
        ]
    return lines


def of_event(event: Event) -> list[str]:
    """Return all keys of an event."""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.wall_s))
    return [
        f"EVENT {event.kind}",
        _line("when", at),
        *(_line(key, str(value)) for key, value in event.as_dict().items() if key not in ("kind", "wall_s")),
    ]


def of_finding(finding: Finding) -> list[str]:
    """Return what is wrong, why, and what to do about it."""
    lines = [f"FINDING {finding.rule}", _line("severity", finding.severity)]
    if finding.node is not None:
        lines.append(_line("node", finding.node))
    if finding.edge is not None:
        lines.append(_line("edge", finding.edge))
    return [*lines, "", "WHAT", finding.what, "", "WHY", finding.why, "", "WHAT TO DO", finding.fix]


def _line(head: str, text: str) -> str:
    return f"{head:<{HEAD}}{text}"


def _spark(
    head: str,
    values: Sequence[float],
    width: int,
    top: float | None = None,
    told: Callable[[float], str] = words.short,
) -> Iterator[str]:
    if len(values) < 2:
        return
    room = max(width - HEAD - 1, 10)
    yield ""
    yield _line(head, words.sparkline(values, room, top).lstrip())
    shown = values[-room:]
    yield _line("", f"{told(min(shown))} to {told(max(shown))}, now {told(shown[-1])}")


def _not_kept(history: History) -> list[str]:
    return [f"no history of {history.forgone:,} numbers: there are too many"] if history.forgone else []


def _percentiles(hop: Percentiles) -> Iterator[str]:
    for head, value in (("p50", hop.p50), ("p90", hop.p90), ("p99", hop.p99), ("most", hop.most)):
        yield f"{head:<5}{words.seconds(value):>7} {'█' * round(BAR * value / (hop.most or 1))}"
