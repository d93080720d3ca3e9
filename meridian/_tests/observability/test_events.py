"""Events are numbered, bounded on both sides, and what is held back or missed is told."""

import os
import threading
from itertools import pairwise
from pathlib import Path

import pytest

import meridian
from meridian.observability import events
from meridian.observability.events import BURST, INTERVAL_S, KINDS, MOST_KEYS, Event, EventLog, get_events
from meridian.redaction import Exposed, Policy, install

pytestmark = pytest.mark.req("X1", "N7")


class Time:
    """A clock that is moved by hand."""

    def __init__(self):
        self.s = 0.0

    def monotonic_ns(self):
        return round(self.s * 1e9)

    def time(self):
        return 1000 + self.s


@pytest.fixture
def time():
    return Time()


def recorder(log, time, run="1-1"):
    return log.recorder(run, time.monotonic_ns, time.time)


def test_an_event_has_its_number_both_times_its_level_and_what_its_kind_says(time):
    log = EventLog()
    time.s = 2.5
    assert recorder(log, time).record("node.slow", node="parse", duration_s=0.3)
    (event,) = log.since().events
    assert event == Event(
        seq=1,
        kind="node.slow",
        level="warn",
        at_s=2.5,
        wall_s=1002.5,
        run="1-1",
        node="parse",
        duration_s=0.3,
    )
    assert event.as_dict() == {
        "seq": 1,
        "kind": "node.slow",
        "level": "warn",
        "at_s": 2.5,
        "wall_s": 1002.5,
        "run": "1-1",
        "node": "parse",
        "duration_s": 0.3,
    }


@pytest.mark.req("X2")
def test_a_policy_that_lets_more_out_is_an_event_of_the_process(monkeypatch):
    monkeypatch.setattr(
        events, "_log", EventLog()
    )  # what other tests let out may have used up this second's events
    news = get_events().subscribe()
    before = install(Policy(expose=(Exposed("error_messages", "a test looks at it"),)))
    install(before)
    (event,) = [each for each in news.take().events if each.kind == "redaction.widened"]
    assert (event.run, event.what, event.reason) == (None, "error_messages", "a test looks at it")
    assert "run" not in event.as_dict()


def test_an_event_cannot_be_changed(time):
    log = EventLog()
    recorder(log, time).record("run.stopping")
    with pytest.raises(AttributeError):
        setattr(log.since().events[0], "node", "other")  # noqa: B010 - a checker would refuse the plain assignment


def test_readers_go_on_where_they_were_and_do_not_disturb_each_other(time):
    log = EventLog()
    writer = recorder(log, time)
    early = log.subscribe()
    writer.record("node.slow", node="a")
    late = log.subscribe()
    writer.record("node.slow", node="b")
    assert [event.node for event in early.take().events] == ["a", "b"]
    assert [event.node for event in late.take().events] == ["b"]
    assert early.take().events == late.take().events == ()
    assert [event.node for event in log.subscribe(since=0).take().events] == ["a", "b"]


def test_a_reader_takes_no_more_than_it_asks_for(time):
    log = EventLog()
    writer = recorder(log, time)
    for n in range(5):
        writer.record("node.slow", node=str(n))
    reader = log.subscribe(since=0)
    assert [[event.seq for event in reader.take(2).events] for _ in range(4)] == [[1, 2], [3, 4], [5], []]
    assert reader.take(0).next == 5


def test_a_slow_reader_misses_the_oldest_and_is_told_how_many(time):
    log = EventLog(capacity=3)
    writer, reader = recorder(log, time), log.subscribe()
    for n in range(10):
        writer.record("node.slow", node=str(n))
    batch = reader.take()
    assert [event.seq for event in batch.events] == [8, 9, 10]
    assert (batch.missed, batch.next, reader.missed) == (7, 10, 7)
    assert reader.take().missed == 0


def test_what_a_slow_reader_missed_is_told_even_if_it_takes_nothing(time):
    log = EventLog(capacity=3)
    writer = recorder(log, time)
    for n in range(10):
        writer.record("node.slow", node=str(n))
    reader = log.subscribe(since=0)
    assert (reader.take(0).missed, reader.take(0).missed, len(reader.take().events)) == (7, 0, 3)


def test_a_place_of_another_process_starts_again_at_the_end(time):
    log = EventLog()
    recorder(log, time).record("run.stopping")
    batch = log.since(5000)
    assert (batch.events, batch.missed, batch.next) == ((), 0, 1)


@pytest.mark.parametrize(("since", "limit"), [(-1, 1), (0, -1)])
def test_a_negative_place_or_limit_is_refused(since, limit):
    with pytest.raises(ValueError, match="negative"):
        EventLog().since(since, limit)


def test_a_storm_is_held_back_and_summed_up_when_it_goes_on(time):
    log = EventLog()
    writer = recorder(log, time)
    let_through = [writer.record("node.error", node="a", error="ValueError") for _ in range(100)]
    assert let_through == [True] * BURST + [False] * (100 - BURST)
    assert log.since().held_back == 95
    time.s += INTERVAL_S
    writer.record("node.error", node="a", error="ValueError")
    *_, summary, last = log.since().events
    assert (summary.kind, summary.of, summary.node, summary.error, summary.n) == (
        "events.suppressed",
        "node.error",
        "a",
        "ValueError",
        95,
    )
    assert last.kind == "node.error"
    assert log.since().held_back == 0


def test_a_storm_that_is_over_is_summed_up_for_the_next_reader(time):
    log = EventLog()
    writer = recorder(log, time)
    for _ in range(10):
        writer.record("node.error", node="a")
    assert len(log.since().events) == BURST
    time.s += INTERVAL_S
    assert log.since().events[-1].n == 5
    assert len(log.since().events) == BURST + 1


def test_a_storm_is_summed_up_at_the_end_of_the_run(time):
    log = EventLog()
    writer = recorder(log, time)
    for _ in range(10):
        writer.record("edge.loss", edge="e", cause="dropped", n=3)
    writer.close()
    summary = log.since().events[-1]
    assert (summary.of, summary.edge, summary.cause, summary.n) == ("edge.loss", "e", "dropped", 15)
    assert log.since().held_back == 0


def test_one_key_does_not_hide_another(time):
    log = EventLog()
    writer = recorder(log, time)
    for _ in range(20):
        for node, error in (("a", "E"), ("b", "E"), ("a", "F")):
            writer.record("node.error", node=node, error=error)
    seen = [(event.node, event.error) for event in log.since().events]
    assert seen == [("a", "E"), ("b", "E"), ("a", "F")] * BURST


def test_a_flood_of_keys_shares_one_and_memory_stays_bounded(time):
    log = EventLog()
    writer = recorder(log, time)
    for n in range(3 * MOST_KEYS):
        writer.record("node.error", node=str(n))
    assert len(writer._limits) <= MOST_KEYS + len(KINDS)
    writer.close()
    summary = log.since().events[-1]
    assert (summary.of, summary.node, summary.n) == ("node.error", None, 2 * MOST_KEYS - BURST)


def test_a_recorder_that_nobody_holds_is_let_go(time):
    log = EventLog()
    writer = recorder(log, time)
    for _ in range(10):
        writer.record("node.error", node="a")
    del writer
    assert log.since().held_back == 0


def test_numbers_have_no_gap_when_several_threads_write(time):
    log = EventLog(capacity=10_000)

    def write(name):
        writer = recorder(log, time, run=name)
        for n in range(1000):
            writer.record("node.slow", node=f"{name}{n}")

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = [event.seq for event in log.since(0, 10_000).events]
    assert all(b == a + 1 for a, b in pairwise(seen))
    assert seen[-1] == log.last


def test_every_kind_names_keys_that_there_are():
    for kind in KINDS.values():
        assert set(kind.keys) <= set(Event.__dataclass_fields__)
        assert kind.level in ("info", "warn", "error")


def test_the_page_lists_every_kind_as_it_is():
    page = Path(meridian.__file__).parents[1] / "docs" / "reference" / "introspection.md"
    if not page.is_file():
        pytest.skip("the pages are not installed with the package")
    text = page.read_text(encoding="utf-8")
    for name, kind in KINDS.items():
        keys = ", ".join(f"`{key}`" for key in kind.keys) or "–"
        assert f"| `{name}` | {kind.level} | {keys} | {kind.means} |\n" in text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_child_can_write_though_its_parent_held_the_lock():
    log = get_events()
    inside, go_on = threading.Event(), threading.Event()

    def hold():
        with log.lock:
            inside.set()
            go_on.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(30)
    child = os.fork()
    if child == 0:
        os._exit(0 if log.since(0, 1).missed >= 0 else 1)
    go_on.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
