"""A report as tables: at the end of a run, and while it goes on.

On a terminal tables have rules and colours; one that is too narrow for a table shows its rows below one another. Elsewhere tables are
plain aligned lines, as wide as they need to be.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from meridian.core.scheduler import Scheduler
from meridian.redaction import redactor
from meridian.runtime.report import EdgeReport, NodeReport, RunReport

REFRESH_S = 0.25
"""Seconds between two pictures of a run that goes on, at least."""

SHARE = 20
"""A picture that takes long to make is made less often: at most one part in so many of the time goes into pictures."""

MOST_ROWS = 200
"""Most rows of a final table; what lost or kept something comes first. ``--json`` has them all."""

_WIDE = 1000
_NARROW = 110
_NAMED, _FOLDED = 16, 12
"""Cells that the names of the rows, and the texts of another column, keep at least when they are folded; shorter ones aren't."""

_INDENT = 2
"""Cells before the facts of a row where there is no room for columns."""

Row = TypeVar("Row")

REASONS = {
    "finished": "sources exhausted, edges drained",
    "shutdown": "asked to stop",
    "idle": "nothing to do for longer than the idle timeout",
    "quiet": "a quiet moment; its tickers declare no end",
    "stuck": "messages are left, but nothing could happen any more",
    "cancelled": "cut short without draining",
    "failed": "a node failed whose error policy stops the run",
}


class Column(NamedTuple):
    """One column of a table.

    Attributes:
        name: Its head.
        cells: One for each row; numbers are aligned to the right.
        is_needed: It is left out otherwise.
    """

    name: str
    cells: Sequence[int | str]
    is_needed: bool = True


def console_for(stream: str) -> Console:
    """Return a console on ``"stdout"`` or ``"stderr"``, as wide as the text where that isn't a terminal."""
    console = Console(stderr=stream == "stderr", highlight=False, emoji=False, markup=False)
    if not getattr(getattr(sys, stream), "isatty", bool)():
        console = Console(
            stderr=stream == "stderr",
            highlight=False,
            emoji=False,
            markup=False,
            width=_WIDE,
            legacy_windows=False,
        )
    return console


def table(columns: Sequence[Column], width: int, *, framed: bool) -> RenderableType:
    """Make a table; where it doesn't fit, each row becomes a few lines below its name, so that nothing vanishes.

    Args:
        columns: The first names the rows.
        width: Cells there are.
        framed: For terminals.
    """
    shown = [column for column in columns if column.is_needed]
    tell = redactor().text
    texts = [
        [f"{cell:,}" if isinstance(cell, int) else tell(cell) for cell in column.cells] for column in shown
    ]
    widths = _widths([column.name for column in shown], texts, width - 2 * (len(shown) - (not framed)))
    if widths is None:
        return Group(*_below([column.name for column in shown], texts, width))
    made = Table(
        box=SIMPLE_HEAD if framed else None,
        pad_edge=False,
        padding=(0, 1 if framed else 2, 0, 0),
        header_style="bold",
    )
    for column, wide in zip(shown, widths, strict=True):
        number = bool(column.cells) and all(isinstance(cell, int) for cell in column.cells)
        made.add_column(Text(column.name), justify="right" if number else "left", overflow="fold", width=wide)
    for row in zip(*texts, strict=True):
        made.add_row(*map(Text, row))
    return made


def _widths(heads: Sequence[str], texts: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """Return how wide each column is, the widest ones folded first; or ``None`` if there is too little room for that."""
    widths, least = [], []
    for i, (head, cells) in enumerate(zip(heads, texts, strict=True)):
        widest = max(map(cell_len, cells), default=0)
        widths.append(max(cell_len(head), widest))
        least.append(max(min(widest, _FOLDED if i else _NAMED), *map(cell_len, head.split() or [""])))
    if sum(least) > room:
        return None
    while sum(widths) > room:
        i = max(range(len(widths)), key=lambda i: (widths[i] > least[i], widths[i]))
        widths[i] -= 1
    return widths


def _below(heads: Sequence[str], texts: Sequence[Sequence[str]], width: int) -> Generator[RenderableType]:
    """Yield each row as its name and, below that, as many of its facts in a line as fit."""
    for name, *cells in zip(*texts, strict=True):
        yield Text(name, style="bold", overflow="fold")
        lines: list[str] = []
        for head, cell in zip(heads[1:], cells, strict=True):
            fact = f"{head} {cell}".strip()
            if not cell:
                continue
            if lines and cell_len(together := f"{lines[-1]} · {fact}") <= width - _INDENT:
                lines[-1] = together
            else:
                lines.append(fact)
        yield Padding(Text("\n".join(lines), overflow="fold"), (0, 0, 0, _INDENT))


# ---- at the end ----------------------------------------------------------------------------------------------------


def show_report(report: RunReport, console: Console) -> None:
    """Print what a run did."""
    reason = report.reason or report.status
    good = reason in ("finished", "shutdown", "idle", "quiet")
    console.print(
        Text.assemble(
            (reason, "bold green" if good else "bold red"),
            f" after {report.elapsed_s:.3f} s on engine {report.engine} ({report.engine_reason}): ",
            REASONS.get(reason, "no reason given"),
        )
    )
    if report.edges:
        console.print()
        print_table(
            console,
            _edges(_choose(report.edges, MOST_ROWS, _edge_weight), report.elapsed_s, console.width),
        )
        say_more(console, len(report.edges), "edges")
    if report.nodes:
        console.print()
        print_table(console, _nodes(_choose(report.nodes, MOST_ROWS, _node_weight)))
        say_more(console, len(report.nodes), "nodes")
    if report.errors:
        console.print()
        title = f"{report.errors_total:,} errors"
        if report.errors_total > len(report.errors):
            title += f", the last {len(report.errors)}"
        console.print(Text(title if report.errors_total > 1 else "1 error", style="bold red"))
        errors = report.errors
        columns = [
            Column("Node", [error.node for error in errors]),
            Column("Hook", [error.phase for error in errors]),
            Column("Error", [error.type for error in errors]),
            Column("Where", [error.where for error in errors]),
            Column("Message", [error.message for error in errors]),
        ]
        print_table(console, columns)


def print_table(console: Console, columns: Sequence[Column]) -> None:
    """Print a table; plain lines without trailing blanks where that isn't a terminal."""
    if console.is_terminal:
        console.print(table(columns, console.width, framed=True))
        return
    # Rich fills the last column with spaces; lines in a file end where their text does.
    with console.capture() as captured:
        console.print(table(columns, console.width, framed=False))
    for line in captured.get().splitlines():
        console.file.write(line.rstrip() + "\n")


def say_more(console: Console, n: int, what: str) -> None:
    """Say how many rows a table of `MOST_ROWS` leaves out, if it does."""
    if n > MOST_ROWS:
        console.print(Text(f"and {n - MOST_ROWS:,} more {what}: --json lists them all"))


def _edges(edges: Sequence[EdgeReport], elapsed_s: float, width: int) -> list[Column]:
    # Where there is little room, what was declared gives way to what happened.
    wide = width >= _NARROW
    seconds = max(elapsed_s, 1e-9)
    return [
        Column("Edge", [edge.id for edge in edges]),
        Column("Policy", [edge.policy for edge in edges], wide),
        Column("Capacity", [edge.capacity for edge in edges], wide),
        Column("Accepted", [edge.accepted for edge in edges]),
        Column("Delivered", [edge.delivered for edge in edges]),
        Column("Per second", [round(edge.delivered / seconds) for edge in edges]),
        Column("Merged", [edge.merged for edge in edges], any(edge.merged for edge in edges)),
        Column("Left", [edge.depth for edge in edges]),
        Column("Lost", [_lost(edge) for edge in edges]),
    ]


def _lost(edge: EdgeReport) -> str:
    return ", ".join(f"{n:,} {cause}" for cause, n in edge.lost.items() if n) or "0"


def _nodes(nodes: Sequence[NodeReport]) -> list[Column]:
    return [
        Column("Node", [node.name for node in nodes]),
        Column("State", [node.state for node in nodes]),
        Column("Handled", [node.handled for node in nodes]),
        Column("Produced", [node.produced for node in nodes], any(node.produced for node in nodes)),
        Column("Errors", [node.errors for node in nodes]),
        Column("Parked", [node.parked for node in nodes], any(node.parked for node in nodes)),
        Column("Unrouted", [node.unrouted for node in nodes], any(node.unrouted for node in nodes)),
        Column("Busy", [f"{node.busy_s:.3f} s" for node in nodes]),
    ]


def _edge_weight(edge: EdgeReport) -> float:
    return sum(edge.lost.values()) + edge.depth / edge.capacity


def _node_weight(node: NodeReport) -> float:
    return node.errors + node.parked + (node.state == "failed")


def _choose(rows: Sequence[Row], most: int, weight: Callable[[Row], float]) -> list[Row]:
    """Return the heaviest rows, in their own order."""
    if len(rows) <= most:
        return list(rows)
    heaviest = sorted(range(len(rows)), key=lambda i: -weight(rows[i]))[:most]
    return [rows[i] for i in sorted(heaviest)]


# ---- while it runs -------------------------------------------------------------------------------------------------


class Picture:
    """Makes pictures of a run that goes on; remembers what the last one showed, for the rates."""

    def __init__(self) -> None:
        self._elapsed_s = 0.0
        self._delivered: dict[str, int] = {}

    def of(self, report: RunReport, width: int, height: int) -> Group:
        """Return what to show.

        Args:
            report: The run so far.
            width: Cells in a line there are.
            height: Lines there are.
        """
        passed_s = max(report.elapsed_s - self._elapsed_s, 1e-9)
        before, now = self._delivered, {edge.id: edge.delivered for edge in report.edges}
        rates = {id: (delivered - before.get(id, 0)) / passed_s for id, delivered in now.items()}
        self._elapsed_s, self._delivered = report.elapsed_s, now
        edges, shown = self._table(report, rates, width, max(height - 6, 1))
        if not isinstance(shown, Table):  # each edge takes as many lines as there would be columns
            edges, shown = self._table(report, rates, width, max((height - 4) // 5, 1))
        lines: list[RenderableType] = [self._headline(report), shown]
        if edges < len(report.edges):
            lines.append(Text(f"and {len(report.edges) - edges:,} more edges, less full", style="dim"))
        return Group(*lines)

    @staticmethod
    def _table(
        report: RunReport, rates: dict[str, float], width: int, most: int
    ) -> tuple[int, RenderableType]:
        """Return how many edges are shown, and how."""
        edges = _choose(
            report.edges,
            most,
            lambda edge: (
                1e9 * bool(edge.lost) + 1e6 * edge.depth / edge.capacity + min(rates[edge.id], 1e5) / 1e5
            ),
        )
        columns = [
            Column("Edge", [edge.id for edge in edges]),
            Column("Per second", [round(rates[edge.id]) for edge in edges]),
            Column("Delivered", [edge.delivered for edge in edges]),
            Column("Depth", [_gauge(edge.depth, edge.capacity) for edge in edges]),
            Column("Lost", [_lost(edge) for edge in edges]),
        ]
        return len(edges), table(columns, width, framed=True)

    @staticmethod
    def _headline(report: RunReport) -> Text:
        states: dict[str, int] = {}
        for node in report.nodes:
            state = node.state if node.waits_for is None and not node.parked else "waiting for room"
            states[state] = states.get(state, 0) + 1
        said = ", ".join(f"{n:,} {state}" for state, n in states.items())
        errors = [(f" · {report.errors_total:,} errors", "red")] if report.errors_total else []
        return Text.assemble(("running", "bold green"), f" {report.elapsed_s:.1f} s · nodes: {said}", *errors)


def _gauge(depth: int, capacity: int) -> str:
    return f"{depth:,} of {capacity:,}".ljust(16) + "▏" + "█" * round(10 * min(depth / capacity, 1))


@contextmanager
def progress(scheduler: Scheduler) -> Generator[None]:
    """Show a run on stderr while it goes on, if that is a terminal.

    A thread of its own draws, so that a handler that keeps the loop doesn't stop the picture; it only reads counters.
    """
    console = console_for("stderr")
    if not sys.stderr.isatty() or not console.is_terminal or console.is_dumb_terminal:
        yield
        return
    picture = Picture()
    stopped = threading.Event()
    # What is printed meanwhile goes above the picture, if it goes to the terminal at all.
    live = Live(
        console=console, auto_refresh=False, transient=True,
        redirect_stdout=sys.stdout.isatty(), redirect_stderr=True,
    )  # fmt: skip

    def draw() -> None:
        while True:
            begin_s = time.perf_counter()
            report = scheduler.report()
            if report is not None and report.status == "running":
                live.update(picture.of(report, console.width, console.height), refresh=True)
            if stopped.wait(max(REFRESH_S, SHARE * (time.perf_counter() - begin_s))):
                return

    thread = threading.Thread(target=draw, name="meridian-progress", daemon=True)
    with live:
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()
