"""Numbers, shares and states as short texts of known width, that say the same without colours."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from meridian.introspect import EdgeSnapshot, NodeSnapshot, Shares

NOTHING = "–"
"""For what nobody measured."""

EIGHTHS = "▁▂▃▄▅▆▇█"

MARKS = {
    "running": "●",
    "working": "◐",
    "blocked": "■",
    "ready": "○",
    "paused": "‖",
    "failed": "✗",
    "starting": "△",
    "stopping": "▽",
    "unstarted": "▫",
    "stopped": "□",
    "idle": "·",
}
"""What a node is doing, in one cell."""

GRAVITY = (
    "failed", "starting", "stopping", "blocked", "running", "working", "ready", "paused", "idle", "unstarted", "stopped",
)  # fmt: skip
"""What a node may be doing; what a subgraph shows is the first of them that one of its nodes does."""


def short(number: float | None) -> str:
    """Return a number in at most five cells: ``1.2k``, ``38M``, ``0.04``."""
    if number is None:
        return NOTHING
    if number < 0:
        return "-" + short(-number)
    if number != round(number) and number < 9.95:
        return f"{number:.2f}" if number < 0.095 else f"{number:.1f}"
    for unit in ("", "k", "M", "G", "T", "P"):
        if number < 999.5:
            return f"{number:.1f}{unit}" if unit and number < 9.95 else f"{number:.0f}{unit}"
        number /= 1000
    return "lots"


def seconds(number: float | None) -> str:
    """Return a stretch of time in at most six cells."""
    if number is None:
        return NOTHING
    if number < 0.9995e-3:
        return f"{number * 1e6:.0f} µs"
    if number < 0.9995:
        return f"{number * 1e3:.0f} ms"
    if number < 99.5:
        return f"{number:.1f} s"
    if number < 5970:
        return f"{number / 60:.0f} min"
    return f"{number / 3600:.0f} h" if number < 356_400 else f"{number / 86_400:.0f} d"


def percent(share: float | None) -> str:
    """Return a share as a percentage."""
    return NOTHING if share is None else f"{share * 100:.0f}%"


def cells(text: str) -> int:
    """Return how many cells of a terminal a text takes."""
    return len(text) if text.isascii() else sum(map(cell_width, text))


def cell_width(character: str) -> int:
    """Return how many cells one character takes: none where it belongs to the one before, two in East Asian scripts."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """Return at most ``width`` cells of a text; one that is longer shows its beginning and its end.

    Names differ at the end more often than at the beginning.
    """
    if cells(text) <= width:
        return text
    if width < 3:
        return _head(text, width)
    tail = _head(text[::-1], (width - 1) // 2)[::-1]
    return f"{_head(text, width - 1 - cells(tail))}…{tail}"


def _head(text: str, width: int) -> str:
    taken = 0
    for i, character in enumerate(text):
        taken += cell_width(character)
        if taken > width:
            return text[:i]
    return text


def pad(text: str, width: int, align: str = "<") -> str:
    """Return a text of exactly ``width`` cells, cut or padded.

    Args:
        text: On one line.
        width: Cells.
        align: ``<``, ``>`` or ``^``, as in format strings.
    """
    text = cut(text, width)
    room = width - cells(text)
    left = {"<": 0, ">": room, "^": room // 2}[align]
    return " " * left + text + " " * (room - left)


def fill(depth: float, capacity: float) -> str:
    """Return one cell that says how full something is; ``·`` if it is empty."""
    if depth <= 0:
        return "·"
    return EIGHTHS[min(int(8 * depth / max(capacity, 1)), 7)] if depth < capacity else "█"


def gauge(share: float, width: int) -> str:
    """Return a bar of ``width`` cells, filled as far as ``share`` of 1 goes."""
    full = round(min(max(share, 0.0), 1.0) * width)
    return "█" * full + "░" * (width - full)


def shares(of: Shares | None, width: int) -> str:
    """Return a bar of what a node spent its time on: busy ``█``, blocked ``▒``, idle ``·``."""
    if of is None:
        return NOTHING.ljust(width)
    busy = round(of.busy * width)
    blocked = min(round((of.busy + of.blocked) * width), width) - busy
    return "█" * busy + "▒" * blocked + "·" * (width - busy - blocked)


def sparkline(values: Sequence[float], width: int, top: float | None = None) -> str:
    """Return the last ``width`` values as columns.

    Args:
        values: Oldest first.
        width: Cells.
        top: What a full column stands for; the highest of them by default.
    """
    shown = values[-width:]
    highest = max(shown, default=0.0) if top is None else top
    return "".join(fill(value, highest) for value in shown).rjust(width)


def lost(of: EdgeSnapshot) -> int:
    """Return how many messages an edge lost, by any cause."""
    return sum(of.lost.values())


def causes(of: EdgeSnapshot) -> str:
    """Return what an edge lost by cause, the most first."""
    found = sorted(((n, cause) for cause, n in of.lost.items() if n), reverse=True)
    return " ".join(f"{short(n)} {cause}" for n, cause in found)


def recent(of: NodeSnapshot) -> Shares | None:
    """Return a node's shares since the look before, or since the start if this is the first."""
    return of.recent if of.recent is not None else of.shares


def rate(of: NodeSnapshot) -> float | None:
    """Return what a node handles per second; what it makes, if it is a source."""
    if of.handled_per_s is None:
        return None
    return max(of.handled_per_s, of.produced_per_s or 0.0)


def gravest(of: Iterable[NodeSnapshot]) -> str:
    """Return what the node is doing that matters most."""
    doing = {node.doing for node in of}
    return next((each for each in GRAVITY if each in doing), "idle")
