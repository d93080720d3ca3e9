"""What the inspector is made of: a table and a graph that draw only the lines that are seen, so that large ones stay quick."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from meridian.inspect import words
from meridian.inspect.columns import Column, fit, line
from meridian.inspect.drawing import Drawing, Faces, faces
from meridian.inspect.fold import Folded, around, fold
from meridian.inspect.layout import lay_out

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from textual.widget import Widget

    from meridian.introspect import Snapshot

STYLES = {
    "box.running": "green",
    "box.working": "cyan",
    "box.blocked": "bold yellow",
    "box.failed": "bold red",
    "box.paused": "magenta",
    "box.stopped": "dim",
    "line": "dim",
    "line.full": "yellow",
    "line.loss": "bold red",
    "error": "bold red",
    "warning": "yellow",
}
"""Colours of what has one; characters say the same."""

MOST_BOXES = 150
"""So many boxes are drawn; of more, those nearest to the one that is selected."""


class Chosen(Message):
    """Somebody pressed Enter on something.

    Attributes:
        what: Name of a node, id of an edge, number of an event or of a finding.
    """

    def __init__(self, what: Hashable) -> None:
        super().__init__()
        self.what = what


class Moved(Message):
    """The cursor is on something else now."""


class Rows(ScrollView, can_focus=True):
    """A table.

    Args:
        columns: What it may show.
        identity: What a row is known by from one look to the next.
        style: What a row is coloured by: a key of `STYLES`, or anything else.
        sort: Which column it is sorted by at first; ``None`` keeps the rows in the order they come in.
        is_tail: A cursor on the first row stays there, also if it is another row.
        id: Of the widget.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home,g", "move(-1000000000)", show=False),
        Binding("end,G", "move(1000000000)", show=False),
        Binding("enter", "choose", show=False),
        Binding("s", "sort", show=False),
        Binding("r", "reverse", show=False),
    ]

    def __init__(
        self,
        columns: Sequence[Column[Any]],
        identity: Callable[[Any], Hashable],
        style: Callable[[Any], str],
        *,
        sort: int | None = None,
        is_tail: bool = False,
        id: str,
    ) -> None:
        super().__init__(id=id)
        self.columns = columns
        self.identity = identity
        self.row_style = style
        self.sort = sort
        self.is_tail = is_tail
        self.is_reversed = False
        self.filter = ""
        self.shown: list[Any] = []
        self.at = 0
        self._all: Sequence[Any] = ()

    @property
    def current(self) -> Any | None:
        """The row that the cursor is on."""
        return self.shown[self.at] if self.shown else None

    def show(self, rows: Sequence[Any]) -> None:
        """Show other rows; the cursor stays on the row of the same identity."""
        self._all = rows
        self._sift()

    def narrow(self, text: str) -> None:
        """Show only rows in which each word of ``text`` stands somewhere."""
        self.filter = text
        self._sift()

    def go_to(self, identity: Hashable) -> None:
        """Put the cursor on a row, if it is there."""
        for i, row in enumerate(self.shown):
            if self.identity(row) == identity:
                self._move_to(i)
                return

    def sorted_by(self) -> str:
        """Say what it is sorted by."""
        if self.sort is None:
            return "order"
        return f"{self.columns[self.sort].head} {'▲' if self.is_reversed else '▼'}"

    def _sift(self) -> None:
        before = self.current
        kept = None if before is None else self.identity(before)
        wanted = self.filter.lower().split()
        rows = [row for row in self._all if not wanted or self._has(row, wanted)]
        if self.sort is not None:
            # Names go up, numbers go down: what matters stands at the top.
            key = self.columns[self.sort].key
            is_text = bool(rows) and isinstance(key(rows[0]), str)
            rows.sort(key=key, reverse=is_text == self.is_reversed)
        self.shown = rows
        if kept is not None and not (self.is_tail and self.at == 0):
            at = next((i for i, row in enumerate(rows) if self.identity(row) == kept), None)
            self.at = at if at is not None else min(self.at, max(len(rows) - 1, 0))
        else:
            self.at = 0
        self.virtual_size = Size(self.size.width, len(rows) + 1)
        self.refresh()

    def _has(self, row: Any, wanted: Sequence[str]) -> bool:
        text = " ".join(column.text(row) for column in self.columns).lower()
        return all(word in text for word in wanted)

    def _move_to(self, at: int) -> None:
        self.at = max(min(at, len(self.shown) - 1), 0)
        height = max(self.size.height - 1, 1)
        if self.at < self.scroll_offset.y:
            self.scroll_to(y=self.at, animate=False)
        elif self.at >= self.scroll_offset.y + height:
            self.scroll_to(y=self.at - height + 1, animate=False)
        self.refresh()
        self.post_message(Moved())

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        self._move_to(self.at + by)

    def action_page(self, by: int) -> None:
        """Move the cursor by what is seen at once."""
        self._move_to(self.at + by * max(self.size.height - 2, 1))

    def action_choose(self) -> None:
        """Say that the row with the cursor was chosen."""
        if self.current is not None:
            self.post_message(Chosen(self.identity(self.current)))

    def action_sort(self) -> None:
        """Sort by the next column; after the last, as the rows come in."""
        following = 0 if self.sort is None else self.sort + 1
        self.sort = following if following < len(self.columns) else None
        self.is_reversed = False
        self._sift()
        self.post_message(Moved())

    def action_reverse(self) -> None:
        """Sort the other way round."""
        self.is_reversed = not self.is_reversed
        self._sift()
        self.post_message(Moved())

    def on_resize(self) -> None:
        """Keep the cursor in sight."""
        self.virtual_size = Size(self.size.width, len(self.shown) + 1)
        self._move_to(self.at)

    def render_line(self, y: int) -> Strip:
        """Return one line: the heads, or a row."""
        width = self.size.width
        base = self.rich_style
        fitting = fit(self.columns, width)
        if y == 0:
            sorting = None if self.sort is None else self.columns[self.sort]
            heads = [
                (f"{column.head}{('▲' if self.is_reversed else '▼') if column is sorting else ''}", cells, column.right)
                for column, cells in fitting
            ]  # fmt: skip
            return _strip(line(heads), base + Style(bold=True, underline=True), width)
        at = self.scroll_offset.y + y - 1
        if at >= len(self.shown):
            return Strip.blank(width, base)
        row = self.shown[at]
        text = line([(column.text(row), cells, column.right) for column, cells in fitting])
        style = base + _style(self, self.row_style(row))
        return _strip(text, style + Style(reverse=True) if at == self.at else style, width)


def _style(widget: Widget, name: str) -> Style:
    """Return the style of that name; without colours only what else it has, since red as a grey is next to black."""
    style = Style.parse(STYLES.get(name, "none"))
    return style.without_color if widget.app.no_color else style


def _strip(text: str, style: Style, width: int) -> Strip:
    return Strip([Segment(words.pad(text, width), style)], width)


class Graph(ScrollView, can_focus=True):
    """The graph, drawn with boxes and lines; subgraphs are boxes until they are unfolded."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(0,-1)", show=False),
        Binding("down,j", "move(0,1)", show=False),
        Binding("left,h", "move(-1,0)", show=False),
        Binding("right,l", "move(1,0)", show=False),
        Binding("enter", "choose", show=False),
        Binding("backspace,f", "fold", show=False),
        Binding("u", "unfold_all", show=False),
    ]

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.unfolded: set[str] = set()
        self.selected: str | None = None
        self.left_out = 0
        self._whole = Folded({}, ())
        self._drawn: Drawing | None = None
        self._faces = Faces({}, {})
        self._topology: object = None
        self._shot: Snapshot | None = None
        self.culprit: str | None = None

    def show(self, shot: Snapshot, culprit: str | None) -> None:
        """Show a snapshot.

        Args:
            shot: The snapshot.
            culprit: Node to begin at.
        """
        self._shot = shot
        self.culprit = culprit
        topology = tuple(node.name for node in shot.nodes), tuple(edge.id for edge in shot.edges)
        if topology != self._topology:
            self._topology = topology
            self._lay_out()
        self._paint()

    def go_to(self, name: str) -> None:
        """Select the box that a node is in."""
        box = next((box for box, inside in self._whole.boxes.items() if name in inside), None)
        if box is None:
            return
        self.selected = box
        if self._drawn is None or box not in self._drawn.layout.boxes:
            self._lay_out()
        self._paint()
        self._scroll_to_selected()

    def node(self) -> str | None:
        """Return the node that is selected, if it is one."""
        return None if self.selected is None or self._whole.is_group(self.selected) else self.selected

    def _lay_out(self) -> None:
        assert self._shot is not None
        self._whole = fold(self._shot.nodes, self._shot.edges, self.unfolded)
        if self.selected not in self._whole.boxes:
            start = self.culprit
            self.selected = next(
                (box for box, inside in self._whole.boxes.items() if start in inside),
                next(iter(self._whole.boxes), None),
            )
        drawn = self._whole
        if len(drawn.boxes) > MOST_BOXES and self.selected is not None:
            drawn = around(drawn, self.selected, MOST_BOXES)
        self.left_out = len(self._whole.boxes) - len(drawn.boxes)
        layout = lay_out(list(drawn.boxes), drawn.links)
        self._drawn = Drawing(layout)
        self.virtual_size = Size(layout.width, layout.height)
        self.call_after_refresh(self._scroll_to_selected)

    def _paint(self) -> None:
        if self._shot is not None:
            nodes = {node.name: node for node in self._shot.nodes}
            edges = {edge.id: edge for edge in self._shot.edges}
            self._faces = faces(self._whole, nodes, edges)
        self.refresh()

    def _scroll_to_selected(self) -> None:
        if self._drawn is None or self.selected not in self._drawn.layout.boxes:
            return
        box = self._drawn.layout.boxes[self.selected]
        region = Region(box.x, box.y, box.width, box.height)
        self.scroll_to_region(region, animate=False, force=True)

    def action_move(self, x: int, y: int) -> None:
        """Select the nearest box in a direction."""
        if self._drawn is None or self.selected is None:
            return
        boxes = self._drawn.layout.boxes
        here = boxes.get(self.selected)
        if here is None:
            return
        if y:
            ranks = self._drawn.layout.ranks
            rank = next(rank for rank in ranks if self.selected in rank)
            at = rank.index(self.selected) + y
            target = rank[at] if 0 <= at < len(rank) else None
        else:
            ahead = [box for box in boxes.values() if (box.x - here.x) * x > 0]
            nearest = min(ahead, key=lambda box: (abs(box.x - here.x), abs(box.y - here.y)), default=None)
            target = None if nearest is None else nearest.name
        if target is not None:
            self.selected = target
            self._scroll_to_selected()
            self.refresh()
            self.post_message(Moved())

    def action_choose(self) -> None:
        """Unfold a subgraph; choose a node."""
        if self.selected is None:
            return
        if self._whole.is_group(self.selected):
            inside = self._whole.boxes[self.selected]
            self.unfolded.add(self.selected)
            self.selected = inside[0]
            self._again()
        else:
            self.post_message(Chosen(self.selected))
            if self.left_out:
                self._again()

    def action_fold(self) -> None:
        """Fold the innermost subgraph that the selected box is in."""
        if self.selected is None or "/" not in self.selected:
            return
        group = self.selected.rpartition("/")[0]
        self.unfolded = {name for name in self.unfolded if name != group and not name.startswith(f"{group}/")}
        self.selected = group
        self._again()

    def action_unfold_all(self) -> None:
        """Unfold all subgraphs, or fold all where all are unfolded."""
        if self._shot is None:
            return
        groups = {
            node.name[:i] for node in self._shot.nodes for i, c in enumerate(node.name) if c == "/" and i
        }
        self.unfolded = set() if groups <= self.unfolded else groups
        self._again()

    def _again(self) -> None:
        if self._shot is not None:
            # A node that was selected may stand first in its box now, and a subgraph may be gone.
            self._lay_out()
            self._paint()
            self.post_message(Moved())

    def render_line(self, y: int) -> Strip:
        """Return one line of what is seen."""
        width = self.size.width
        base = self.rich_style
        if self._drawn is None:
            return Strip.blank(width, base)
        x = self.scroll_offset.x
        row = self._drawn.row(y + self.scroll_offset.y, x, x + width, self._faces, self.selected)
        return Strip([Segment(text, base + _style(self, style)) for text, style in row], width)
