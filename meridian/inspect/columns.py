"""Which columns the tables have: of nodes, edges, events.

A column knows its text and what it is sorted by. Where there is little room, those of the least importance are left out.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from meridian.inspect import words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from meridian.introspect import EdgeSnapshot, NodeSnapshot
    from meridian.observability.events import Event

Row = TypeVar("Row")

GAP = 1
"""Cells between two columns."""


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """One column.

    Attributes:
        head: Above it.
        width: Cells it needs.
        text: What a row shows in it.
        key: What rows are sorted by; the greatest stands at the top.
        right: Numbers stand at the right.
        takes: Its share of the cells that are left over.
        rank: The higher, the sooner it is left out; 0 never is.
    """

    head: str
    width: int
    text: Callable[[Row], str]
    key: Callable[[Row], Any]
    right: bool = False
    takes: int = 0
    rank: int = 0


def fit(columns: Sequence[Column[Row]], width: int) -> list[tuple[Column[Row], int]]:
    """Choose what fits into ``width`` cells, and how wide each is."""
    shown = list(columns)
    while (needed := sum(column.width + GAP for column in shown) - GAP) > width:
        least = max(shown, key=lambda column: column.rank)
        if not least.rank:
            break
        shown.remove(least)
    left = max(width - needed, 0)
    shares = sum(column.takes for column in shown)
    widths = [column.width + (left * column.takes // shares if shares else 0) for column in shown]
    return list(zip(shown, widths, strict=True))


def line(cells: Sequence[tuple[str, int, bool]]) -> str:
    """Return texts beside one another; each comes with its width and whether it stands at the right."""
    return (" " * GAP).join(words.pad(text, width, ">" if right else "<") for text, width, right in cells)


def _number(value: float | None) -> float:
    return -math.inf if value is None else value


TAKE_THE_HEAD = frozenset({"replaced", "expired", "coalesce_error"})
"""Losses by which the oldest item leaves an edge, or another comes into its place, without being delivered."""


def _age(edge: EdgeSnapshot) -> float | None:
    """Return for how long its head has waited; both facts are lower bounds, so one of 0 says nothing.

    Where heads are lost, an edge from which nothing was delivered may have a young one all the same.
    """
    stalled_s = 0.0 if TAKE_THE_HEAD.intersection(edge.lost) else edge.stalled_s or 0.0
    return max(edge.head_age_s or 0.0, stalled_s) or None


def _busy(node: NodeSnapshot) -> float:
    spent = words.recent(node)
    return spent.busy if spent is not None else 0.0


def _blocked(node: NodeSnapshot) -> float:
    spent = words.recent(node)
    return spent.blocked if spent is not None else 0.0


NODES: tuple[Column[NodeSnapshot], ...] = (
    Column("Node", 16, lambda node: node.name, lambda node: node.name, takes=2),
    Column(
        "Doing", 9,
        lambda node: f"{words.MARKS.get(node.doing, '?')} {node.doing}",
        lambda node: -words.GRAVITY.index(node.doing) if node.doing in words.GRAVITY else -99,
    ),
    Column("Spent", 10, lambda node: words.shares(words.recent(node), 10), _busy),
    Column("Busy", 4, lambda node: words.percent(_busy(node)), _busy, right=True, rank=2),
    Column("Blkd", 4, lambda node: words.percent(_blocked(node)), _blocked, right=True, rank=2),
    Column("Per s", 6, lambda node: words.short(words.rate(node)), lambda node: _number(words.rate(node)), right=True),
    Column("Total", 6, lambda node: words.short(max(node.handled, node.produced)),
           lambda node: max(node.handled, node.produced), right=True, rank=3),
    Column("Err", 5, lambda node: words.short(node.errors), lambda node: node.errors, right=True),
    Column("Parked", 6, lambda node: words.short(node.parked), lambda node: node.parked, right=True, rank=4),
    Column("Wait", 6, lambda node: words.seconds(node.wait_age_s), lambda node: _number(node.wait_age_s), right=True, rank=1),
    Column("Waits for", 12, lambda node: node.waits_for or "", lambda node: node.waits_for or "", takes=1),
)  # fmt: skip
"""Of a table of nodes."""

EDGES: tuple[Column[EdgeSnapshot], ...] = (
    Column("Edge", 22, lambda edge: edge.id, lambda edge: edge.id, takes=1),
    Column("Fill", 8, lambda edge: words.gauge(edge.depth / max(edge.capacity, 1), 8),
           lambda edge: edge.depth / max(edge.capacity, 1)),
    Column("Depth", 9, lambda edge: f"{words.short(edge.depth)}/{words.short(edge.capacity)}",
           lambda edge: edge.depth, right=True),
    Column("In/s", 5, lambda edge: words.short(edge.accepted_per_s), lambda edge: _number(edge.accepted_per_s),
           right=True, rank=2),
    Column("Out/s", 5, lambda edge: words.short(edge.delivered_per_s), lambda edge: _number(edge.delivered_per_s), right=True),
    Column("Lost/s", 6, lambda edge: words.short(edge.lost_per_s), lambda edge: _number(edge.lost_per_s), right=True, rank=3),
    Column("Lost", 5, lambda edge: words.short(words.lost(edge)), words.lost, right=True),
    Column("Wait", 6, lambda edge: words.seconds(edge.wait_age_s), lambda edge: _number(edge.wait_age_s), right=True),
    Column("Head", 6, lambda edge: words.seconds(_age(edge)), lambda edge: _number(_age(edge)), right=True),
    Column("p99", 6, lambda edge: words.seconds(edge.hop_s.p99 if edge.hop_s else None),
           lambda edge: _number(edge.hop_s.p99 if edge.hop_s else None), right=True, rank=4),
    Column("Policy", 8, lambda edge: edge.policy, lambda edge: edge.policy, rank=5),
    Column("By cause", 18, words.causes, words.causes, rank=6),
)  # fmt: skip
"""Of a table of edges."""


def told(event: Event) -> str:
    """Return what an event says besides its kind and to whom it happened."""
    said = (
        event.of,
        event.error,
        event.phase and f"in {event.phase}",
        event.where and f"at {event.where}",
        event.message,
        event.cause,
        event.state,
        event.reason,
        event.what,
        event.n is not None and f"{event.n:,}×",
        event.duration_s is not None and words.seconds(event.duration_s),
        event.total is not None and f"{event.total:,} so far",
    )
    return " ".join(str(each) for each in said if each)


LEVELS = {"error": "✗", "warn": "!", "info": "·"}
"""How serious an event is, in one cell."""

EVENTS: tuple[Column[Event], ...] = (
    Column("When", 8, lambda event: time.strftime("%H:%M:%S", time.localtime(event.wall_s)), lambda event: event.seq),
    Column("Kind", 17, lambda event: f"{LEVELS.get(event.level, '?')} {event.kind}", lambda event: event.kind),
    Column("Where", 18, lambda event: event.node or event.edge or "", lambda event: event.node or event.edge or "", takes=1),
    Column("What", 26, told, told, takes=2),
)  # fmt: skip
"""Of a table of events."""
