"""The application: its screens as text, and what keys do. It is told what was seen; nobody looks at a process."""

import asyncio
from dataclasses import replace

import pytest

pytest.importorskip("textual", reason="the extra tui isn't installed")

from meridian import Scheduler, coalesce, graph, node, sink, source, via
from meridian._tests.inspect.parts import SLOW
from meridian.inspect.app import Top
from meridian.inspect.reader import Reader, Reading, Status
from meridian.inspect.summary import stuck
from meridian.inspect.widgets import MOST_BOXES, Graph
from meridian.introspect import Finding, Watch
from meridian.observability.events import get_events

pytestmark = pytest.mark.req("N6")


class Nobody:
    """A reader that is never asked."""

    def __init__(self):
        self.chosen = []

    def read(self):
        raise AssertionError("nobody should look")

    def choose(self, place):
        self.chosen.append(place)


def screen(app) -> str:
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


def live(shot, events=(), findings=(), **said) -> Reading:
    return Reading(
        Status.LIVE, shot.wall_s, "", shot.pid, (shot,), tuple(events), findings={shot.run: findings}, **said
    )


def play(script, *, size=(80, 24), readings=()):
    """Run the application without a timer, let it take readings, and let the script go on from there."""

    async def main():
        app = Top(Nobody(), None)
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            for reading in readings:
                app.take(reading)
            await pilot.pause()
            await script(app, pilot)

    asyncio.run(main())


async def press(pilot, *keys):
    await pilot.press(*keys)
    await pilot.pause()


@pytest.fixture
def shop(made):
    return [live(made.shop(), made.EVENTS, (SLOW,)), *(live(made.shop(i), (), (SLOW,)) for i in range(1, 4))]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_the_screens_look_as_they_should(shop, golden, size):
    async def script(app, pilot):
        name = f"{size[0]}x{size[1]}"
        golden(f"graph-{name}", screen(app))
        for tab in ("nodes", "edges", "events", "findings"):
            await press(pilot, "tab")
            golden(f"{tab}-{name}", screen(app))
        await press(pilot, "3", "enter")
        golden(f"edge-{name}", screen(app))
        await press(pilot, "2", "end", "enter")
        golden(f"node-{name}", screen(app))

    play(script, size=size, readings=shop)


def test_question_mark_explains_the_keys_and_any_key_closes_it(shop, golden):
    async def script(app, pilot):
        await press(pilot, "question_mark")
        golden("help", screen(app))
        await press(pilot, "x")
        assert "unfold all" not in screen(app)

    play(script, readings=shop)


def test_tables_are_sorted_by_the_next_column_and_the_other_way_round(shop):
    async def script(app, pilot):
        await press(pilot, "2")
        rows = app.rows("nodes")

        def names():
            return [row.name for row in rows.shown]

        assert (rows.sorted_by(), names()[:2]) == ("Spent ▼", ["parse", "screen"])
        await press(pilot, "s", "s", "s")
        assert (rows.sorted_by(), names()[:2]) == ("Per s ▼", ["orders", "parse"])
        await press(pilot, "r")
        assert (rows.sorted_by(), names()[0]) == ("Per s ▲", "write")
        for _ in range(20):
            if rows.sort is None:
                break
            await press(pilot, "s")
        assert (rows.sorted_by(), names()[0]) == ("order", "orders")
        await press(pilot, "s")
        assert names() == sorted(names())

    play(script, readings=shop)


def test_a_filter_keeps_rows_that_have_all_its_words(shop):
    async def script(app, pilot):
        await press(pilot, "slash", *"stock work", "enter")
        assert app.tab == "nodes"  # from the graph, one filters its nodes
        assert [row.name for row in app.rows("nodes").shown] == ["stock/book"]
        assert "by Spent ▼  /stock work" in screen(app)
        await press(pilot, "escape")
        assert len(app.rows("nodes").shown) == 6
        await press(pilot, "4", "slash", *"loss", "enter")
        assert [row.kind for row in app.rows("events").shown] == ["edge.loss"]

    play(script, readings=shop)


def test_a_filter_is_typed_into_its_field_and_not_taken_for_keys(shop):
    async def script(app, pilot):
        await press(pilot, "2", "slash", *"q3 n", "enter")
        assert app.is_running
        assert (app.tab, app.rows("nodes").filter) == ("nodes", "q3 n")

    play(script, readings=shop)


def test_a_paused_picture_stays_and_goes_on_with_what_is_then(made, shop):
    async def script(app, pilot):
        await press(pilot, "space")
        before = screen(app)
        assert "PAUSED" in before
        app.take(live(made.shop(50), (made.event(4, "loop.stuck", "error"),)))
        await pilot.pause()
        assert screen(app) == before
        await press(pilot, "4")
        assert len(app.rows("events").shown) == 3
        await press(pilot, "space")
        assert "running 62.0 s" in screen(app)
        assert len(app.rows("events").shown) == 4
        assert app.history.looks == 5

    play(script, readings=shop)


def test_plus_and_minus_change_how_often_it_looks(made):
    class Still(Nobody):
        def read(self):
            return live(made.shop())

    async def main():
        app = Top(Still(), 60.0)
        async with app.run_test() as pilot:
            await press(pilot, "minus")
            assert app.interval_s == 60.0
            await press(pilot, "plus", "plus")
            assert app.interval_s == 10.0
            assert "+- 10 s" in screen(app)

    asyncio.run(main())


def test_looks_are_taken_on_another_thread_and_arrive(made):
    class Still(Nobody):
        def read(self):
            return live(made.shop())

    async def main():
        app = Top(Still(), 3600.0)
        async with app.run_test() as pilot:
            async with asyncio.timeout(60):
                while app.picture is None:
                    await pilot.pause()
            assert app.picture.shot == made.shop()

    asyncio.run(main())


def test_arrows_select_boxes_enter_unfolds_and_f_folds(shop):
    async def script(app, pilot):
        graph = app.query_one(Graph)
        assert graph.selected == "write"  # the culprit
        await press(pilot, "left")
        assert graph.selected == "screen"
        await press(pilot, "up")
        assert graph.selected == "stock"
        await press(pilot, "enter")
        assert (graph.selected, graph.unfolded) == ("stock/check", {"stock"})
        assert "stock/book" in screen(app)
        await press(pilot, "f")
        assert (graph.selected, graph.unfolded) == ("stock", set())
        await press(pilot, "down")
        assert graph.selected == "screen"
        await press(pilot, "u")
        assert graph.unfolded == {"stock"}
        await press(pilot, "u")
        assert graph.unfolded == set()

    play(script, size=(120, 40), readings=shop)


def test_enter_shows_details_beside_or_in_place_of_the_rest_and_escape_closes_them(shop):
    async def script(app, pilot):
        await press(pilot, "2", "enter")
        pane, views = app.query_one("#pane"), app.query_one("#views")
        assert (pane.display, views.display) == (True, app.size.width >= 110)
        assert "LAST ERROR" in "\n".join(app.details(40))
        await press(pilot, "escape")
        assert (pane.display, views.display) == (False, True)
        await press(pilot, "down", "enter")
        assert "NODE screen" in screen(app)

    for size in ((80, 24), (120, 40)):
        play(script, size=size, readings=shop)


def test_a_stuck_loop_is_named_with_node_and_stack(made, golden):
    async def script(app, pilot):
        golden("stuck", screen(app))
        await press(pilot, "2", "slash", *"parse", "enter", "enter")
        details = "\n".join(app.details(60))
        assert "STACK OF THE LOOP, outermost first\nf0 shop.py:0\nf1" in details

    play(script, readings=[live(made.stuck_shop(), made.EVENTS)])


@pytest.mark.parametrize(
    ("own", "shown"),
    [
        ("", "f5 shop.py:50 ← f4 shop.py:40 ← f3 shop.py:30"),
        ("012", "f5 shop.py:50 ← f4 shop.py:40 ← f3 shop.py:30"),
        ("024", "f5 shop.py:50"),
        ("235", "f4 shop.py:40"),
        ("012345", "f5 shop.py:50 ← f4 shop.py:40 ← f3 shop.py:30"),
    ],
)
def test_of_a_stuck_loop_the_calls_of_the_users_code_are_shown(made, own, shown):
    shot = made.stuck_shop()
    stack = tuple(replace(frame, own=str(i) in own) for i, frame in enumerate(shot.loop.stack))
    said = stuck(replace(shot, loop=replace(shot.loop, stack=stack)))
    assert said.partition(": ")[2] == shown


@pytest.mark.parametrize(
    ("status", "head"),
    [(Status.GONE, "PROCESS GONE"), (Status.SILENT, "NO ANSWER"), (Status.ENDED, "RUN ENDED"), (Status.REFUSED, "CAN'T LOOK")],
)  # fmt: skip
def test_the_last_picture_stays_with_what_became_of_the_process(shop, status, head):
    async def script(app, pilot):
        app.take(Reading(status, 0.0, "process 4321 is no more", 4321, findings={None: (SLOW,)}))
        await pilot.pause()
        shown = screen(app)
        assert f"{head}: process 4321 is no more · the picture is of 08:00:15" in " ".join(shown.split())
        assert "parse" in shown
        assert app.picture.findings == (SLOW,)

    play(script, readings=shop)


def test_a_look_that_fails_as_it_should_not_ends_the_application_with_its_error():
    async def main():
        app = Top(Nobody(), 3600.0)
        async with app.run_test(), asyncio.timeout(60):
            while app._exception is None:
                await asyncio.sleep(0)

    with pytest.raises(AssertionError, match="nobody should look"):
        asyncio.run(main())


@pytest.mark.parametrize(
    ("reading", "text"),
    [
        (Reading(Status.NONE, 0.0), "meridian run --inspect app.py"),
        (Reading(Status.REFUSED, 0.0, "process 1 runs Meridian 9.9"), "process 1 runs Meridian 9.9"),
        (
            Reading(Status.SEVERAL, 0.0, "2 processes", places=(11, 22), programs={22: "app.py"}),
            "2  22  app.py",
        ),
    ],
)
def test_without_a_picture_it_says_why_and_what_to_do(reading, text):
    async def script(app, pilot):
        app.look = lambda: None
        assert "connecting" in screen(app)
        app.take(reading)
        await pilot.pause()
        assert text in screen(app)
        await press(pilot, "slash", "tab", "space", "n", "c", "2")  # none of them harms
        assert app.reader.chosen == ([22] if reading.status is Status.SEVERAL else [])

    play(script)


def test_the_next_run_is_shown_on_demand(made, monkeypatch):
    runs = (made.shop(), replace(made.shop(), run="4321-2", elapsed_s=99.0))
    reading = Reading(Status.LIVE, 0.0, "", 4321, runs, findings={})

    async def script(app, pilot):
        monkeypatch.setattr(app, "look", lambda: app.take(reading))
        assert "4321-1" in screen(app)
        await press(pilot, "n")
        assert "4321-2" in screen(app)
        assert "4321-1" not in screen(app)
        await press(pilot, "n")
        assert "4321-1" in screen(app)

    play(script, readings=[reading])


def test_a_terminal_that_shrinks_and_grows_is_drawn_anew(shop, golden):
    async def script(app, pilot):
        await pilot.resize_terminal(40, 10)
        await pilot.pause()
        assert len(screen(app).splitlines()) == 10
        await press(pilot, "2", "end", "3", "enter", "escape", "1")
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        golden("graph-80x24", screen(app))

    play(script, readings=shop)


@pytest.mark.parametrize("group", [0, 50])
def test_a_graph_of_a_thousand_nodes_is_folded_or_drawn_around_what_is_selected(made, group):
    async def script(app, pilot):
        graph = app.query_one(Graph)
        if group:
            assert (graph.left_out, graph.selected) == (0, "part0")
            await press(pilot, "u")
        assert graph.left_out == 1_000 - MOST_BOXES
        assert f"{MOST_BOXES} nearest boxes of 1,000" in screen(app)
        await press(pilot, "right", "right", "right", "enter")
        await press(pilot, "2", "end")
        rows = app.rows("nodes")
        assert (rows.at, len(rows.shown)) == (999, 1_000)
        await press(pilot, "slash", *"step777", "enter")
        assert len(rows.shown) == 1

    play(script, readings=[live(made.crowd(group=group)), live(made.crowd(group=group))])


def test_events_are_bounded_and_how_many_were_let_go_is_said(made):
    flood = [made.event(seq, "node.error", "error", node="parse") for seq in range(1, 1_501)]

    async def script(app, pilot):
        await press(pilot, "4")
        assert len(app.rows("events").shown) == 1_000
        assert "507 older events were let go · 9 are only counted for now" in screen(app)

    play(script, readings=[live(made.shop(), flood, missed=7, held_back=9)])


def test_o_goes_to_what_a_finding_an_event_a_node_or_an_edge_is_about(shop):
    async def script(app, pilot):
        await press(pilot, "5", "o")
        assert (app.tab, app.rows("nodes").current.name) == ("nodes", "write")
        await press(pilot, "o")
        assert (app.tab, app.query_one(Graph).selected) == ("graph", "write")
        await press(pilot, "4", "o")  # the newest event is about an edge
        assert (app.tab, app.rows("edges").current.id) == ("edges", "parse:output->screen:input")
        await press(pilot, "o")
        assert (app.tab, app.rows("nodes").current.name) == ("nodes", "parse")

    play(script, readings=shop)


def test_details_that_do_not_fit_are_scrolled(shop):
    async def script(app, pilot):
        await press(pilot, "2", "enter")
        assert "→ █ 1 screen" not in screen(app)
        await press(pilot, "end")
        assert "→ █ 1 screen" in screen(app)
        await pilot.resize_terminal(120, 40)
        await press(pilot, "down")  # beside the table arrows move its cursor
        assert "NODE screen" in screen(app)

    play(script, readings=shop)


def test_lints_stand_after_the_findings(made, shop):
    lint = Finding(
        "blocking-call", "warning", "parse", None, "it sleeps", "the loop waits", "use asyncio.sleep"
    )

    async def main():
        app = Top(Nobody(), None, (lint,))
        async with app.run_test() as pilot:
            app.take(shop[0])
            await press(pilot, "5")
            assert [each.rule for each in app.rows("findings").shown] == ["dead-consumer", "blocking-call"]
            assert "5 findings (2)" in screen(app)

    asyncio.run(main())


def test_copying_takes_the_details_of_what_is_selected(shop, monkeypatch):
    async def script(app, pilot):
        copied = []
        monkeypatch.setattr(app, "copy_to_clipboard", copied.append)
        await press(pilot, "5", "c")
        assert copied[0].splitlines()[0] == "FINDING dead-consumer"
        assert SLOW.fix in copied[0]

    play(script, readings=shop)


def test_without_colours_nothing_is_lost(shop, monkeypatch, golden):
    monkeypatch.setenv("NO_COLOR", "1")

    async def script(app, pilot):
        golden("graph-80x24", screen(app))

    play(script, readings=shop)


def test_without_colours_what_is_wrong_is_as_bright_as_the_rest(shop, monkeypatch):
    """A red made grey is next to black, on a screen that is."""
    monkeypatch.setenv("NO_COLOR", "1")

    async def script(app, pilot):
        for tab, widget in (("1", app.query_one(Graph)), ("5", app.rows("findings"))):
            await press(pilot, tab)
            drawn = [part for y in range(widget.size.height) for part in widget.render_line(y)]
            assert any(part.style.bold for part in drawn), "what is wrong stands out by other means"
            assert {part.style.color for part in drawn if part.text.strip()} == {widget.rich_style.color}

    play(script, readings=shop)


CANARY = "sk-live-Zx81Qw0vTb27Lm94Kd"


@pytest.mark.req("X2")
def test_no_payload_of_a_run_that_fails_everywhere_is_on_any_screen():
    """The run is a real one: payloads are in messages, exceptions, their causes, and what a coalesce function raised."""

    @node
    def fails(item: str) -> str:
        try:
            raise KeyError(item)
        except KeyError as error:
            raise ValueError(f"bad {item}") from error

    def merges(old: str, new: str) -> str:
        raise RuntimeError(old + new)

    def refuses(item: str) -> None:
        raise OSError(item)

    items = source([f"{CANARY}-{i}" for i in range(8)], name="items")
    scheduler = Scheduler()
    scheduler.register(
        graph("leaky", items >> fails, items >> via(capacity=1, policy=coalesce(merges)) >> sink(refuses, name="refuses"))
    )  # fmt: skip
    watch, since = Watch(scheduler), get_events().last
    scheduler.run()
    shot, batch = watch.look(), get_events().since(since)
    assert (shot.errors_total > 0, len(batch.events) > 0) == (True, True)

    class Inside:
        """A connection to this process."""

        pid = shot.pid

        def look(self, since):
            return (shot,), batch

    shown = []

    async def script(app, pilot):
        for tab in "12345":
            await press(pilot, tab, "enter")
            shown.append(screen(app))
            for row in range(1 if tab == "1" else len(app.rows(app.tab).shown)):
                if row:
                    app.rows(app.tab).action_move(1)
                shown.extend(app.details(200))

    reader = Reader(lambda: (shot.pid,), lambda place: Inside(), lambda: 0.0)
    play(script, size=(140, 40), readings=[reader.read()])
    text = "\n".join(shown)
    assert ("ValueError" in text, "fails" in text, "[redacted]" in text) == (True, True, True)
    assert (CANARY in text, "Zx81" in text) == (False, False)
