"""A laid-out graph in characters: boxes, lines with what they say of their edges, a row at a time.

What is drawn comes in runs of text and a style. Styles are words (``box.blocked``, ``line.loss``); the application gives them
colours, and every one of them is told apart by its characters, too.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from meridian.inspect import words
from meridian.inspect.layout import LABEL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meridian.inspect.fold import Folded
    from meridian.inspect.layout import Box, Layout
    from meridian.introspect import EdgeSnapshot, NodeSnapshot

UP, RIGHT, DOWN, LEFT = 1, 2, 4, 8
LINES = {
    UP: "│", DOWN: "│", UP | DOWN: "│", LEFT: "─", RIGHT: "─", LEFT | RIGHT: "─",
    RIGHT | DOWN: "╭", LEFT | DOWN: "╮", UP | RIGHT: "╰", UP | LEFT: "╯",
    UP | DOWN | RIGHT: "├", UP | DOWN | LEFT: "┤", LEFT | RIGHT | DOWN: "┬", LEFT | RIGHT | UP: "┴",
    UP | RIGHT | DOWN | LEFT: "┼",
}  # fmt: skip

PLAIN, CHOSEN = tuple("┌─┐│└┘"), tuple("╔═╗║╚╝")
"""Frames: corners and sides of a box, and of the one that is selected."""

STYLES = ("line", "line.full", "line.loss")
"""Of lines, the mildest first: where several share a cell, it takes the last."""


class Run(NamedTuple):
    """Some characters of one style."""

    text: str
    style: str


class Face(NamedTuple):
    """What a box shows.

    Attributes:
        title: Its first line.
        text: Its second line.
        short: That line where there is little room.
        style: Of both.
    """

    title: str
    text: str
    short: str
    style: str


class Label(NamedTuple):
    """What a line says of its edge.

    Attributes:
        text: At most `LABEL` cells.
        style: One of `STYLES`.
    """

    text: str
    style: str


@dataclass(frozen=True, slots=True)
class Faces:
    """What all boxes and lines show at one moment."""

    boxes: Mapping[str, Face]
    labels: Mapping[str, Label]


def faces(folded: Folded, nodes: Mapping[str, NodeSnapshot], edges: Mapping[str, EdgeSnapshot]) -> Faces:
    """Return what a snapshot makes boxes and lines show."""
    boxes = {}
    for name, inside in folded.boxes.items():
        members = [nodes[each] for each in inside if each in nodes]
        boxes[name] = _face(name, members, is_group=folded.is_group(name))
    labels = {link.id: _label(edges[link.id]) for link in folded.links if link.id in edges}
    return Faces(boxes, labels)


def _face(name: str, members: list[NodeSnapshot], *, is_group: bool) -> Face:
    doing = words.gravest(members)
    errors = sum(node.errors for node in members)
    failed = f" ✗{words.short(errors)}" if errors else ""
    if is_group:
        many = f"{words.MARKS[doing]} {len(members):,}"
        return Face(f"▸ {name}", f"{many} nodes{failed}", f"{many}{failed}", f"box.{doing}")
    rates = [each for node in members if (each := words.rate(node)) is not None]
    moving = f" {words.short(sum(rates))}/s" if rates else ""
    mark = words.MARKS[doing]
    return Face(name, f"{mark} {doing}{moving}{failed}", f"{mark}{moving}{failed}", f"box.{doing}")


def _label(edge: EdgeSnapshot) -> Label:
    lost = words.lost(edge)
    said = [f"{words.fill(edge.depth, edge.capacity)}{words.short(edge.depth)}"] if edge.depth else []
    if lost:
        said.append(f"-{words.short(lost)}")
    if edge.lost_per_s or (lost and edge.lost_per_s is None):
        style = "line.loss"
    else:
        style = "line.full" if edge.depth >= edge.capacity else "line"
    return Label(" ".join(said)[:LABEL], style)


class Drawing:
    """A layout, ready to be drawn row by row.

    Args:
        layout: Where everything goes.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._cells: list[dict[int, tuple[int, tuple[str, ...]]]] = [{} for _ in range(layout.height)]
        self._boxes: list[list[Box]] = [[] for _ in range(layout.height)]
        self._arrows: list[dict[int, tuple[str, str]]] = [{} for _ in range(layout.height)]
        self._labels: list[list[tuple[int, str]]] = [[] for _ in range(layout.height)]
        for box in layout.boxes.values():
            for y in range(box.y, box.y + box.height):
                self._boxes[y].append(box)
        for route in layout.routes.values():
            self._trace(route.id, route.points)
            x, y = route.points[-1]
            self._arrows[y][x] = ("◀" if route.is_back else "▶", route.id)
            x, y = route.label
            self._labels[y].append((x, route.id))

    def _trace(self, id: str, points: Sequence[tuple[int, int]]) -> None:
        for (x1, y1), (x2, y2) in itertools.pairwise(points):
            if y1 == y2:
                a, b = min(x1, x2), max(x1, x2)
                for x in range(a, b + 1):
                    self._add(x, y1, (LEFT if x > a else 0) | (RIGHT if x < b else 0), id)
            else:
                a, b = min(y1, y2), max(y1, y2)
                for y in range(a, b + 1):
                    self._add(x1, y, (UP if y > a else 0) | (DOWN if y < b else 0), id)

    def _add(self, x: int, y: int, mask: int, id: str) -> None:
        before, ids = self._cells[y].get(x, (0, ()))
        self._cells[y][x] = (before | mask, ids if id in ids else (*ids, id))

    def row(self, y: int, begin: int, end: int, shown: Faces, selected: str | None = None) -> list[Run]:
        """Return columns ``begin`` to ``end`` (exclusive) of row ``y``.

        Args:
            y: Counted from the top.
            begin: First column.
            end: The column after the last.
            shown: What boxes and lines show.
            selected: Box with the other frame.

        Cost: O(columns + boxes and lines in the row).
        """
        if not 0 <= y < self.layout.height:
            return [Run(" " * (end - begin), "")]
        characters, styles = [" "] * (end - begin), [""] * (end - begin)

        def put(x: int, text: str, style: str) -> None:
            i = x - begin
            for character in text:
                width = words.cell_width(character) if character > "\u02ff" else 1
                if not width and 0 < i <= len(characters):
                    characters[i - 1] += character
                elif width == 1 and 0 <= i < len(characters):
                    characters[i], styles[i] = character, style
                elif width == 2 and 0 <= i < len(characters) - 1:
                    characters[i], characters[i + 1] = character, ""
                    styles[i] = styles[i + 1] = style
                i += width

        for x, (mask, ids) in self._cells[y].items():
            if begin <= x < end:
                put(x, LINES.get(mask, " "), _worst(ids, shown))
        for x, id in self._labels[y]:
            label = shown.labels.get(id)
            if label is not None:
                put(x, label.text, label.style)
        for x, (arrow, id) in self._arrows[y].items():
            put(x, arrow, _worst((id,), shown))
        for box in self._boxes[y]:
            if box.x < end and box.x + box.width > begin:
                text, style = self._box_row(box, y, shown, selected)
                put(box.x, text, style)
        return _runs(characters, styles)

    def _box_row(self, box: Box, y: int, shown: Faces, selected: str | None) -> tuple[str, str]:
        corner, across, other, down, low, last = CHOSEN if box.name == selected else PLAIN
        face = shown.boxes.get(box.name, Face(box.name, "", "", "box.idle"))
        inner = box.width - 2
        at = y - box.y
        if at == 0:
            return corner + across * inner + other, face.style
        if at == box.height - 1:
            loop = "↻" if box.name in self.layout.loops else across
            return low + loop + across * (inner - 1) + last, face.style
        fits = words.cells(face.text) <= inner
        text = {1: face.title, 2: face.text if fits else face.short}.get(at, "")
        return f"{down}{words.pad(text, inner, '^')}{down}", face.style

    def text(self, shown: Faces, selected: str | None = None) -> str:
        """Return all of it, without styles."""
        rows = (self.row(y, 0, self.layout.width, shown, selected) for y in range(self.layout.height))
        return "\n".join("".join(run.text for run in row).rstrip() for row in rows)


def _worst(ids: tuple[str, ...], shown: Faces) -> str:
    found = (shown.labels[id].style for id in ids if id in shown.labels)
    return max(found, key=STYLES.index, default=STYLES[0])


def _runs(characters: list[str], styles: list[str]) -> list[Run]:
    runs: list[Run] = []
    start = 0
    for i in range(1, len(characters) + 1):
        if i == len(characters) or styles[i] != styles[start]:
            runs.append(Run("".join(characters[start:i]), styles[start]))
            start = i
    return runs
