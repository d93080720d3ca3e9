"""The application: what it shows, and which key does what."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import ContentSwitcher, Input, Static

from meridian.inspect import detail, words
from meridian.inspect.columns import EDGES, EVENTS, NODES, Column
from meridian.inspect.history import History
from meridian.inspect.reader import Looker, Reader, Reading, Status
from meridian.inspect.summary import headline, numbers, stuck
from meridian.inspect.widgets import MOST_BOXES, Graph, Rows
from meridian.introspect import EdgeSnapshot, Finding, NodeSnapshot, Snapshot
from meridian.observability.events import Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.timer import Timer

INTERVALS_S = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""What + and - step through."""

MOST_EVENTS = 1_000
"""So many events are kept; older ones are let go, and that is said."""

WIDE = 110
"""From so many columns on, the details stand beside the rest."""

TABS = ("graph", "nodes", "edges", "events", "findings")

HELP = """\
 meridian top

 1 … 5, Tab     graph, nodes, edges, events, findings
 arrows, hjkl   move
 Enter          details of what is selected; on a subgraph: unfold it
 Esc            close details, or let go of the filter
 o              go to the node or edge that an event or finding is about;
                from a node to its place in the graph
 f, Backspace   fold the subgraph around the selected node
 u              unfold all subgraphs, or fold them all
 /              filter: rows that have all of these words (blocked, write)
 s, r           sort by the next column, the other way round
 Space          pause the picture; the process goes on
 + -            look more or less often
 n              next run, where the process has several
 c              copy what is selected, details included
 q, Ctrl-C      quit; the process doesn't notice

 ● running  ◐ awaits  ■ blocked  ○ ready  ‖ paused  · idle  ✗ failed
 Time spent: █ busy  ▒ blocked  · idle
 Lines: ▃12 waits on the edge, -3 were lost on it; – nobody measured it
"""

FOOT = "? help  / filter  s sort  Enter details  Space pause  +- interval  q quit"

NOTHING_YET = {
    Status.CONNECTING: "connecting …",
    Status.NONE: """\
No process of yours lets itself be looked at.

Start one that does:

    meridian run --inspect app.py
    MERIDIAN_INSPECT=1 python app.py

or, in code:

    Scheduler(inspect=True)

It is shown as soon as it runs. One that serves a socket elsewhere is named by
--socket PATH.""",
}
"""What stands in place of a picture before there is one."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What is shown of a run.

    Attributes:
        shot: Its snapshot.
        runs: Ids of all runs of the process.
        findings: What is wrong.
        wall_s: When it was taken.
    """

    shot: Snapshot
    runs: tuple[str, ...]
    findings: tuple[Finding, ...]
    wall_s: float


class Looked(Message):
    """A look is finished, or failed in a way it shouldn't."""

    def __init__(self, reading: Reading | Exception) -> None:
        super().__init__()
        self.reading = reading


FINDINGS: tuple[Column[Finding], ...] = (
    Column("Severity", 9, lambda finding: f"{'✗' if finding.severity == 'error' else '!'} {finding.severity}",
           lambda finding: finding.severity == "error"),
    Column("Rule", 16, lambda finding: finding.rule, lambda finding: finding.rule),
    Column("Where", 16, lambda finding: finding.node or finding.edge or "",
           lambda finding: finding.node or finding.edge or "", takes=1),
    Column("What", 30, lambda finding: finding.what, lambda finding: finding.what, takes=3),
)  # fmt: skip


def _of_node(node: NodeSnapshot) -> str:
    return f"box.{node.doing}" if node.doing in ("failed", "blocked") else ""


def _of_edge(edge: EdgeSnapshot) -> str:
    if edge.lost_per_s:
        return "line.loss"
    return "line.full" if edge.depth >= edge.capacity else ""


def _of_event(event: Event) -> str:
    return {"error": "error", "warn": "warning"}.get(event.level, "")


class Help(ModalScreen[None]):
    """The keys; any of them closes it."""

    CSS = "Help { align: center middle; } #help { width: 78; height: auto; border: round $primary; }"

    def compose(self) -> ComposeResult:
        """Make what it is made of."""
        yield Static(Text(HELP), id="help")

    def on_key(self) -> None:
        """Close it."""
        self.dismiss()


class Top(App[None]):
    """``meridian top``.

    Args:
        reader: Looks at the process.
        interval_s: Seconds from one look to the next; ``None`` looks only when `look` is called.
        lints: What is wrong with the graph as it was declared; shown after the findings.
    """

    TITLE = "meridian top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head { height: auto; text-style: bold; }
    #banner { height: auto; max-height: 3; display: none; text-style: bold; }
    #tabs { height: 1; }
    #empty { padding: 1 2; display: none; }
    #body { height: 1fr; }
    #views { width: 1fr; height: 100%; }
    #views > * { height: 100%; scrollbar-size: 1 1; }
    #pane { display: none; width: 46; padding: 0 1; border-left: solid $primary; scrollbar-size-vertical: 1; }
    #pane.alone { width: 100%; border-left: none; }
    #filter { display: none; height: 1; border: none; padding: 0; }
    #foot { height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(i), f"tab({i - 1})", show=False) for i in range(1, 10)),
        Binding("tab", "next_tab(1)", show=False, priority=True),
        Binding("shift+tab", "next_tab(-1)", show=False, priority=True),
        Binding("escape", "close", show=False),
        Binding("question_mark", "help", show=False),
        Binding("slash", "filter", show=False),
        Binding("space", "pause", show=False),
        Binding("plus", "interval(-1)", show=False),
        Binding("equals_sign", "interval(-1)", show=False),
        Binding("minus", "interval(1)", show=False),
        Binding("n", "next_run", show=False),
        Binding("o", "go", show=False),
        Binding("c", "copy", show=False),
        Binding("q", "quit", show=False),
        Binding("ctrl+c", "quit", show=False, priority=True),
    ]

    def __init__(
        self, reader: Reader, interval_s: float | None = 1.0, lints: tuple[Finding, ...] = ()
    ) -> None:
        super().__init__()
        self.lints = lints
        self.reader = reader
        self.interval_s = interval_s
        self.looker = Looker(reader.read, lambda reading: self.post_message(Looked(reading)))
        self.history = History()
        self.reading = Reading(Status.CONNECTING, 0.0)
        self.picture: Picture | None = None
        self.events: deque[Event] = deque(maxlen=MOST_EVENTS)
        self.shed_events = 0
        self.is_paused = False
        self.tab = "graph"
        self._run: str | None = None
        self._seen: tuple[Event, ...] = ()
        self._timer: Timer | None = None

    # ---- what it is made of ------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Make what it is made of."""
        yield Static(id="head")
        yield Static(id="banner")
        yield Static(id="tabs")
        yield Static(id="empty")
        with Horizontal(id="body"):
            with ContentSwitcher(initial="graph", id="views"):
                yield Graph(id="graph")
                yield Rows(NODES, lambda node: node.name, _of_node, sort=2, id="nodes")
                yield Rows(EDGES, lambda edge: edge.id, _of_edge, sort=1, id="edges")
                yield Rows(EVENTS, lambda event: event.seq, _of_event, sort=0, is_tail=True, id="events")
                yield Rows(
                    FINDINGS,
                    lambda each: (each.rule, each.node, each.edge, each.what),
                    lambda each: each.severity,
                    id="findings",
                )
            with VerticalScroll(id="pane"):
                yield Static(id="detail")
        yield Input(placeholder="words that a row must have; Enter keeps, Esc lets go", id="filter")
        yield Static(id="foot")

    def on_mount(self) -> None:
        """Begin to look."""
        self.looker.start()
        self._set_timer()
        self.query_one(Graph).focus()
        self._paint()

    def on_unmount(self) -> None:
        """Look no more."""
        self.looker.stop()

    def on_resize(self) -> None:
        """Lay the details out anew, once the new size is known everywhere."""
        self.call_after_refresh(self._paint)

    def rows(self, tab: str) -> Rows:
        """Return the table of a tab."""
        return self.query_one(f"#{tab}", Rows)

    # ---- what it shows -----------------------------------------------------------------------------------------

    def look(self) -> None:
        """Ask for a look now."""
        self.looker.look()

    def on_looked(self, message: Looked) -> None:
        """Take what came of a look."""
        if isinstance(message.reading, Exception):
            raise message.reading
        self.take(message.reading)

    def take(self, reading: Reading) -> None:
        """Keep what came of a look, and show it unless the picture is paused."""
        self.reading = reading
        self.shed_events += reading.missed + max(len(self.events) + len(reading.events) - MOST_EVENTS, 0)
        self.events.extend(reading.events)
        if self._run not in (runs := [shot.run for shot in reading.shots]) and runs:
            self._run = runs[0]
        if (shot := self._shot()) is not None:
            self.history.add(shot)
        if not self.is_paused:
            self._renew()
        self._paint()

    def _shot(self) -> Snapshot | None:
        """Return what the last look has of the run that is watched."""
        return next((shot for shot in self.reading.shots if shot.run == self._run), None)

    def _renew(self) -> None:
        """Make the picture of the last look; where that has no run, keep the last picture."""
        self._seen = tuple(self.events)
        reading, last = self.reading, self.picture
        if (shot := self._shot()) is not None:
            runs = tuple(each.run for each in reading.shots)
            self.picture = Picture(shot, runs, tuple(reading.findings.get(shot.run, ())), reading.wall_s)
        elif None in reading.findings and last is not None:
            self.picture = replace(last, findings=tuple(reading.findings[None]))

    def _paint(self) -> None:
        if not self.query("#foot"):  # not made yet
            return
        self._paint_frame()
        picture = self.picture
        has_picture = picture is not None
        self.query_one("#body").display = has_picture
        self.query_one("#empty").display = not has_picture
        if picture is None:
            self.query_one("#empty", Static).update(Text(self._instead()))
            return
        shot = picture.shot
        if self.tab == "graph":
            culprit = next((each.node for each in picture.findings if each.node is not None), None)
            self.query_one(Graph).show(shot, culprit)
        elif self.tab == "nodes":
            self.rows("nodes").show(shot.nodes)
        elif self.tab == "edges":
            self.rows("edges").show(shot.edges)
        elif self.tab == "events":
            self.rows("events").show(self._seen)
        else:
            self.rows("findings").show((*picture.findings, *self.lints))
        self._paint_frame()  # the graph knows now what it leaves out
        self._paint_detail()

    def _paint_frame(self) -> None:
        picture = self.picture
        self._text(
            "head",
            " meridian top" if picture is None else f" {headline(picture.shot)}\n {numbers(picture.shot)}",
        )
        banner, style = self._banner()
        widget = self.query_one("#banner", Static)
        widget.display = bool(banner)
        widget.update(Text(banner, style=style, overflow="fold"))
        names = Text()
        for i, tab in enumerate(TABS, 1):
            count = 0
            if picture is not None and tab == "findings":
                count = len(picture.findings) + len(self.lints)
            said = f" {i} {tab}{f' ({count})' if count else ''} "
            names.append(said, style="reverse" if tab == self.tab else "")
        if self.tab != "graph":
            names.append(f"  by {self.rows(self.tab).sorted_by()}")
            if found := self.rows(self.tab).filter:
                names.append(f"  /{words.cut(found, 16)}", style="reverse")
        elif self.query_one(Graph).left_out:
            names.append(f"  {MOST_BOXES} nearest boxes of {MOST_BOXES + self.query_one(Graph).left_out:,}")
        names.no_wrap = True
        self.query_one("#tabs", Static).update(names)
        every = "interval" if self.interval_s is None else f"{self.interval_s:g} s"
        self._text("foot", f" {FOOT}".replace("interval", every))

    def _text(self, id: str, text: str) -> None:
        self.query_one(f"#{id}", Static).update(Text(text, no_wrap=True, overflow="ellipsis"))

    def _banner(self) -> tuple[str, str]:
        """Return what is to be said before everything else, and its colour."""
        said, style = [], "black on yellow"
        picture, reading = self.picture, self.reading
        if picture is not None and reading.status is not Status.LIVE:
            at = time.strftime("%H:%M:%S", time.localtime(picture.wall_s))
            heads = {
                Status.GONE: "PROCESS GONE",
                Status.SILENT: "NO ANSWER",
                Status.ENDED: "RUN ENDED",
                Status.REFUSED: "CAN'T LOOK",
            }
            head = heads.get(reading.status, reading.status.value.upper())
            said.append(f"{head}: {reading.text} · the picture is of {at}")
            style = "white on red" if reading.status is not Status.ENDED else style
        elif picture is not None and picture.shot.loop.stuck:
            said.append(stuck(picture.shot))
            style = "white on red"
        if self.is_paused:
            said.append("PAUSED: Space goes on")
        if self.tab == "events" and (self.shed_events or reading.held_back):
            shed = f"{self.shed_events:,} older events were let go" if self.shed_events else ""
            held = f"{reading.held_back:,} are only counted for now" if reading.held_back else ""
            said.append(" · ".join(each for each in (shed, held) if each))
        return "\n".join(f" {each}" for each in said), style

    def _instead(self) -> str:
        """Return what stands where there was no picture yet."""
        reading = self.reading
        if reading.status is Status.SEVERAL:
            listed = "\n".join(
                f"    {i}  {place}  {reading.programs.get(place, '')}".rstrip()
                for i, place in enumerate(reading.places[:9], 1)
            )
            more = f"\n    and {len(reading.places) - 9} more: --pid N" if len(reading.places) > 9 else ""
            return f"{reading.text}. Which one? Press its number:\n\n{listed}{more}"
        return NOTHING_YET.get(reading.status) or f"{reading.text}\n\nTrying again …"

    def _paint_detail(self) -> None:
        pane = self.query_one("#pane")
        if not pane.display:
            return
        is_alone = self.size.width < WIDE
        pane.set_class(is_alone, "alone")
        self.query_one("#views").display = not is_alone
        if is_alone:  # arrows scroll it; else they move the cursor beside
            pane.focus()
        elif pane.has_focus:
            self.query_one(f"#{self.tab}").focus()
        lines = self.details(max((self.size.width if is_alone else 46) - 4, 20))
        text = Text("\n", no_wrap=False, overflow="fold").join(
            Text(each, style="bold" if each.partition(" ")[0].isupper() else "") for each in lines
        )
        self.query_one("#detail", Static).update(text)

    def details(self, width: int) -> Sequence[str]:
        """Return all that is known of what is selected, in lines of about ``width`` cells."""
        if self.picture is None:
            return ()
        shot = self.picture.shot
        if self.tab == "graph":
            name = self.query_one(Graph).node()
            node = next((each for each in shot.nodes if each.name == name), None)
            if node is None:
                return ("A SUBGRAPH", "Enter unfolds it.")
            return detail.of_node(node, shot, self.history, width)
        row = self.rows(self.tab).current
        if isinstance(row, NodeSnapshot):
            return detail.of_node(row, shot, self.history, width)
        if isinstance(row, EdgeSnapshot):
            return detail.of_edge(row, self.history, width)
        if isinstance(row, Event):
            return detail.of_event(row)
        if isinstance(row, Finding):
            return detail.of_finding(row)
        return ("nothing is selected",)

    # ---- what keys do ------------------------------------------------------------------------------------------

    def on_chosen(self) -> None:
        """Show the details of what was chosen; a second time, close them."""
        pane = self.query_one("#pane")
        self._show_pane(not pane.display)

    def on_moved(self) -> None:
        """Show the details of what is selected now."""
        self._paint_frame()
        self._paint_detail()

    def _show_pane(self, wanted: bool) -> None:
        self.query_one("#pane").display = wanted
        self.query_one("#pane").scroll_home(animate=False)
        if not wanted:
            self.query_one("#views").display = True
            self.query_one(f"#{self.tab}").focus()
        self._paint()

    def action_tab(self, index: int) -> None:
        """Show a tab; where it is to be chosen from several processes, choose one."""
        if self.picture is None and self.reading.status is Status.SEVERAL:
            if index < len(self.reading.places):
                self.reader.choose(self.reading.places[index])
                self.look()
            return
        if index >= len(TABS):
            return
        self.tab = TABS[index]
        self.query_one("#views", ContentSwitcher).current = self.tab
        self._show_pane(False)

    def action_go(self) -> None:
        """Go to the node or edge that something is about; from a node to its place in the graph."""
        if self.picture is None or self.tab == "graph":
            return
        row = self.rows(self.tab).current
        if isinstance(row, NodeSnapshot):
            self.action_tab(TABS.index("graph"))
            self.query_one(Graph).go_to(row.name)
            return
        node = row.source if isinstance(row, EdgeSnapshot) else getattr(row, "node", None)
        edge = None if isinstance(row, EdgeSnapshot) else getattr(row, "edge", None)
        for tab, name in (("nodes", node), ("edges", edge)):
            if name is not None:
                self.action_tab(TABS.index(tab))
                self.rows(tab).narrow("")
                self.rows(tab).go_to(name)
                return

    def action_next_tab(self, by: int) -> None:
        """Show the tab beside."""
        if self.picture is not None:
            self.action_tab((TABS.index(self.tab) + by) % len(TABS))

    def action_close(self) -> None:
        """Close the details, or let go of the filter."""
        field = self.query_one("#filter", Input)
        if self.query_one("#pane").display:
            self._show_pane(False)
        elif self.tab != "graph":
            field.value = ""
            self.rows(self.tab).narrow("")
            field.display = False
            self.rows(self.tab).focus()
            self._paint()

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(Help())

    def action_filter(self) -> None:
        """Ask for words; in the graph, of a table of its nodes."""
        if self.picture is None:
            return
        if self.tab == "graph":
            self.action_tab(1)
        field = self.query_one("#filter", Input)
        field.value = self.rows(self.tab).filter
        field.display = True
        field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Narrow the table while somebody types."""
        if self.tab != "graph" and self.query_one("#filter").has_focus:
            self.rows(self.tab).narrow(event.value)
            self._paint_frame()

    def on_input_submitted(self) -> None:
        """Keep the filter."""
        self.query_one("#filter").display = False
        self.query_one(f"#{self.tab}").focus()
        self._paint_frame()

    def action_pause(self) -> None:
        """Hold the picture, or go on."""
        self.is_paused = not self.is_paused
        if not self.is_paused:
            self._renew()
        self._paint()

    def action_interval(self, by: int) -> None:
        """Look more often, or less."""
        if self.interval_s is None:
            return
        nearest = min(range(len(INTERVALS_S)), key=lambda i: abs(INTERVALS_S[i] - (self.interval_s or 0)))
        self.interval_s = INTERVALS_S[max(min(nearest + by, len(INTERVALS_S) - 1), 0)]
        self._set_timer()
        self._paint()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        if self.interval_s is not None:
            self._timer = self.set_interval(self.interval_s, self.look)
            self.look()

    def action_next_run(self) -> None:
        """Show the next run of the process."""
        if self.picture is not None and len(self.picture.runs) > 1:
            runs = self.picture.runs
            self._run = runs[(runs.index(self.picture.shot.run) + 1) % len(runs)]
            self.look()

    def action_copy(self) -> None:
        """Copy what is selected, by the terminal's own means."""
        self.copy_to_clipboard("\n".join(self.details(80)))
        self.notify("copied", timeout=2)
