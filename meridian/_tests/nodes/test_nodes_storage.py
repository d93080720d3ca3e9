"""Caches, buffers and files: exact on the run's clock, bounded, and nothing lost or repeated."""

from __future__ import annotations

import errno
import gc
import os
import resource
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian import Message, graph, sink, source, via
from meridian._tests.nodes.parts import EMITS, RAISES, Watch, payloads, run, timed
from meridian.core.errors import BackpressureError
from meridian.core.message import CONTROL, DATA
from meridian.core.scheduler import Scheduler, SchedulerConfig
from meridian.core.subgraph import Subgraph
from meridian.nodes import storage
from meridian.nodes.base import NodeConfig
from meridian.nodes.storage import (
    BufferNode,
    CacheNode,
    EvictionPolicy,
    FileReaderNode,
    FileWriterNode,
    PersistenceStrategy,
)
from meridian.testing import NodeTestHarness, simulate

pytestmark = pytest.mark.req("V11")


def put(key: str, value: Any = 1, **more: Any) -> dict[str, Any]:
    return {"op": "set", "key": key, "value": value, **more}


def get(key: str) -> dict[str, Any]:
    return {"op": "get", "key": key}


def found(key: str, value: Any) -> dict[str, Any]:
    return {"op": "get", "key": key, "hit": True, "value": value}


def missed(key: str) -> dict[str, Any]:
    return {"op": "get", "key": key, "hit": False, "value": None}


# --- cache


def answers(made: CacheNode, *requests: Any) -> list[Any]:
    harness = NodeTestHarness(made)
    for request in requests:
        harness.send_message("input", request)
    return payloads(harness)


def test_set_get_and_delete_are_answered():
    assert answers(
        CacheNode("n"), put("a", 7), get("a"), {"op": "delete", "key": "a"}, get("a"), {"op": "delete", "key": "a"}
    ) == [
        {"op": "set", "key": "a", "status": "ok"},
        {"op": "get", "key": "a", "hit": True, "value": 7},
        {"op": "delete", "key": "a", "existed": True},
        {"op": "get", "key": "a", "hit": False, "value": None},
        {"op": "delete", "key": "a", "existed": False},
    ]  # fmt: skip


def test_a_value_may_be_left_out_or_none():
    assert answers(CacheNode("n"), {"op": "set", "key": "a"}, get("a"))[1] == found("a", None)


@pytest.mark.parametrize(
    "request_", ["text", None, {}, {"op": "get"}, {"op": "steal", "key": "a"}, {"op": "get", "key": 1}, put("a", ttl_s="1")]
)  # fmt: skip
def test_what_is_no_request_is_ignored(request_):
    assert answers(CacheNode("n"), request_) == []


def test_control_error_and_other_ports_are_ignored():
    harness = NodeTestHarness(CacheNode("n"))
    harness.send_control("input", get("a"))
    harness.send_error("input", get("a"))
    harness.send_message("elsewhere", get("a"))
    assert payloads(harness) == []


@pytest.mark.v1("D54")
def test_answers_keep_trace_headers_and_metadata():
    harness = NodeTestHarness(CacheNode("n"))
    harness.send_message("input", get("a"), metadata={"m": 1}, headers={"trace_id": "t", "to": "x"})
    answer = harness.get_emitted_messages("output")[0]
    assert (answer.get_trace_id(), answer.headers["to"], answer.metadata) == ("t", "x", {"m": 1})


def test_under_lru_the_entry_not_used_for_the_longest_time_goes():
    requests = (
        put("a"),
        put("b"),
        get("a"),
        put("c"),
        get("a"),
        get("b"),
        put("a", 2),
        put("d"),
        get("c"),
        get("a"),
    )
    got = answers(CacheNode("n", max_size=2), *requests)
    assert got[4:6] == [found("a", 1), missed("b")]
    assert got[8:] == [missed("c"), found("a", 2)]


@pytest.mark.v1("D62")
def test_under_fifo_the_entry_set_first_goes_however_much_it_was_used():
    requests = (put("a"), put("b"), get("a"), put("a", 2), put("c"), get("a"), get("b"), get("c"))
    got = answers(CacheNode("n", max_size=2, eviction_policy=EvictionPolicy.FIFO), *requests)
    assert got[5:] == [missed("a"), found("b", 1), found("c", 1)]


def test_an_entry_expires_exactly_when_its_time_is_up():
    watch, _ = run(
        CacheNode("n", ttl_seconds=2), (0, put("a")), (0, put("b", ttl_s=1)), (0, put("c", ttl_s=0)), (0.999999, get("b")),
        (1, get("b")), (1.999999, get("a")), (2, get("a")), (9999, get("c")),
    )  # fmt: skip
    assert watch.payloads[3:] == [found("b", 1), missed("b"), found("a", 1), missed("a"), found("c", 1)]


def test_setting_again_renews_the_time_and_fractions_are_rounded_up():
    watch, _ = run(
        CacheNode("n"), (0, put("a", ttl_s=1)), (0.5, put("a", ttl_s=1.2)), (2.4, get("a")), (2.5, get("a"))
    )
    assert watch.payloads[2:] == [found("a", 1), missed("a")]


def test_deleting_what_has_expired_says_that_it_was_not_there():
    watch, _ = run(CacheNode("n", ttl_seconds=1), (0, put("a")), (1, {"op": "delete", "key": "a"}))
    assert watch.payloads[1]["existed"] is False


def test_ticks_remove_what_has_expired_unread():
    made = CacheNode("n", ttl_seconds=1)
    held: list[int] = []

    def look() -> None:
        held.append(len(made._entries))

    run(made, (0, put("a")), (0.5, put("b")), (0.9, look), (1.4, look), (1.6, look))
    assert held == [2, 1, 0]


def test_a_full_cache_gives_up_the_expired_first():
    requests = ((0, put("old")), (0, put("short", ttl_s=1)), (1, put("new")), (1, get("old")))
    watch, _ = run(CacheNode("n", max_size=2, eviction_policy=EvictionPolicy.FIFO), *requests)
    assert watch.payloads[-1] == found("old", 1)


def test_setting_one_key_for_ever_needs_no_more_memory():
    made = CacheNode("n", ttl_seconds=1000)
    answers(made, put("first", ttl_s=500), *(put("a", i) for i in range(1000)))
    assert len(made._expiring) < 100
    assert answers(made, get("a"), get("first")) == [found("a", 999), found("first", 1)]


def test_entries_that_will_expire_keep_no_run_alive():
    _, simulation = run(CacheNode("n", ttl_seconds=1000), (0, put("a")))
    assert simulation.elapsed_s == 0


@given(
    st.lists(
        st.tuples(st.sampled_from(["set", "get", "delete"]), st.sampled_from("abcd"), st.integers(0, 3), st.integers(0, 2)),
        max_size=40,
    ),
    st.integers(1, 4),
    st.sampled_from(EvictionPolicy),
)  # fmt: skip
def test_a_cache_behaves_like_a_dict_that_forgets(requests, most, policy):
    made = CacheNode("n", max_size=most, eviction_policy=policy)
    now = 0
    made.now = lambda: now
    model: OrderedDict[str, tuple[int, float]] = OrderedDict()
    expected = []
    harness = NodeTestHarness(made)
    for i, (op, key, ttl, wait) in enumerate(requests):
        now += wait
        for gone in [each for each, (_, until) in model.items() if until <= now]:
            del model[gone]
        if op == "set":
            if key not in model and len(model) == most:
                model.popitem(last=False)
            model[key] = i, now + ttl if ttl else float("inf")
            if policy is EvictionPolicy.LRU:
                model.move_to_end(key)
            expected.append({"op": "set", "key": key, "status": "ok"})
        elif op == "get":
            if key in model and policy is EvictionPolicy.LRU:
                model.move_to_end(key)
            expected.append(found(key, model[key][0]) if key in model else missed(key))
        else:
            expected.append({"op": "delete", "key": key, "existed": model.pop(key, None) is not None})
        harness.send_message("input", {"op": op, "key": key, "value": i, "ttl_s": ttl})
    assert payloads(harness) == expected


# --- buffer


@pytest.mark.v1("D63")
def test_a_buffer_is_emitted_exactly_one_interval_after_its_first_item():
    watch, _ = run(BufferNode("n", flush_interval_ms=1000), (0.3, 1), (1.2, 2), (1.4, 3), (9, 4), (10.5, 5))
    assert watch.got == [(1.3, [1, 2]), (2.4, [3]), (10, [4]), (10.5, [5])]


@pytest.mark.v1("D63", "L11")
def test_the_first_tick_of_a_harness_waits_for_the_interval_too(monkeypatch: pytest.MonkeyPatch):
    made = BufferNode("n", flush_interval_ms=1000)
    now = 50.0
    monkeypatch.setattr(made, "now", lambda: now)
    harness = NodeTestHarness(made)
    harness.send_message("input", 1)
    harness.trigger_tick()
    assert payloads(harness) == []
    now = 51.0
    harness.trigger_tick()
    harness.trigger_tick()
    assert payloads(harness) == [[1]]


def test_the_shortest_interval_means_every_tick():
    harness = NodeTestHarness(BufferNode("n", flush_interval_ms=1))
    harness.send_message("input", 1)
    harness.trigger_tick()
    assert payloads(harness) == [[1]]


def test_control_flushes_the_buffer_and_is_forwarded_behind_it():
    harness = NodeTestHarness(BufferNode("n"))
    harness.send_control("input", "nothing yet")
    harness.send_message("input", 1)
    harness.send_control("input", "flush")
    assert payloads(harness) == ["nothing yet", [1], "flush"]


def test_a_buffer_swallows_errors_and_other_ports():
    harness = NodeTestHarness(BufferNode("n"))
    harness.send_error("input", "bad")
    harness.send_message("elsewhere", 1)
    harness.node.on_drain()
    assert payloads(harness) == []


def test_the_end_of_the_run_flushes_at_once():
    watch, simulation = run(BufferNode("n", flush_interval_ms=3_600_000), (0, 1), (2, 2))
    assert (watch.got, simulation.elapsed_s) == ([(2, [1, 2])], 2)


def test_a_full_buffer_drops_its_oldest_item_and_says_so_without_the_item(records):
    made = BufferNode("n", buffer_size=2)
    watch, _ = run(made, *((0, f"secret {i}") for i in range(5)))
    assert watch.payloads == [["secret 3", "secret 4"]]
    assert made.dropped == 3
    logged = records("buffer.dropped")
    assert [line["suppressed"] for line in logged] == [0, 2]  # at most one a second, and the rest at the end
    assert (logged[0]["node"], logged[0]["buffer_size"], logged[0]["dropped"]) == ("n", 2, 1)
    assert "secret" not in str(logged)


def test_the_strategy_of_persistence_is_accepted_and_changes_nothing():
    watch, _ = run(BufferNode("n", 10, PersistenceStrategy.DISK_ONLY), (0, 1))
    assert watch.payloads == [[1]]


@pytest.mark.req("V4")
@given(
    waits=st.lists(st.one_of(st.integers(0, 15), st.none()), max_size=25),
    capacity=st.sampled_from([1, 2, 100]),
    seed=st.integers(0, 5),
)
def test_buffers_lose_repeat_and_reorder_nothing(waits, capacity, seed):
    now, steps = 0, []
    for i, wait in enumerate(waits):
        now += wait or 0
        steps.append((now / 10, Message(CONTROL, i) if wait is None else i))
    watch, _ = run(BufferNode("n", flush_interval_ms=1000), *steps, capacity=capacity, seed=seed)
    lists = [each for each in watch.payloads if isinstance(each, list)]
    controls = [each for each in watch.payloads if not isinstance(each, list)]
    assert [item for each in lists for item in each] == [
        i for i, wait in enumerate(waits) if wait is not None
    ]
    assert controls == [i for i, wait in enumerate(waits) if wait is None]


def test_what_a_buffer_held_when_a_run_was_aborted_comes_in_the_next_one():
    made = BufferNode("n", flush_interval_ms=1000)
    NodeTestHarness(made).send_message("input", 1)
    watch, _ = run(made, (5, 2))
    assert watch.got == [(1, [1]), (5, [2])]


# --- writing files


def test_payloads_are_appended_as_lines_of_text(tmp_path: Path):
    path = tmp_path / "new" / "folder" / "out.txt"
    harness = NodeTestHarness(FileWriterNode("n", str(path)))
    assert path.parent.is_dir()
    for payload in ("grün", 7, None, {"a": 1}):
        harness.send_message("input", payload)
        assert path.read_text(encoding="utf-8").endswith(f"{payload}\n")  # at once
    assert path.read_bytes() == "grün\n7\nNone\n{'a': 1}\n".encode()


def test_what_is_there_already_stays(tmp_path: Path):
    path = tmp_path / "out.txt"
    path.write_text("before\n")
    simulate(graph("g", source([1]) >> FileWriterNode("n", path)))
    assert path.read_text() == "before\n1\n"


def test_a_writer_ignores_control_error_and_other_ports_and_has_no_output(tmp_path: Path):
    path = tmp_path / "out.txt"
    harness = NodeTestHarness(FileWriterNode("n", str(path)))
    harness.send_control("input", 1)
    harness.send_error("input", 1)
    harness.send_message("elsewhere", 1)
    assert not path.exists()
    assert harness.node.outputs == []


def test_a_file_that_is_moved_away_is_made_anew(tmp_path: Path):
    path = tmp_path / "out.txt"
    harness = NodeTestHarness(FileWriterNode("n", str(path)))
    harness.send_message("input", 1)
    path.rename(tmp_path / "old.txt")
    harness.send_message("input", 2)
    assert ((tmp_path / "old.txt").read_text(), path.read_text()) == ("1\n", "2\n")


def test_many_threads_may_write_at_a_time(tmp_path: Path):
    path = tmp_path / "out.txt"
    made = FileWriterNode("n", str(path))

    def write(who: int) -> None:
        for i in range(50):
            made._handle_message("input", Message(DATA, f"{who} {i} " + "x" * 100))

    threads = [threading.Thread(target=write, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = path.read_text().splitlines()
    assert sorted(lines) == sorted(f"{who} {i} " + "x" * 100 for who in range(4) for i in range(50))
    for who in range(4):
        assert [line.split()[1] for line in lines if line.split()[0] == str(who)] == [
            str(i) for i in range(50)
        ]


FULL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")


@FULL
@pytest.mark.v1("D53")
def test_a_full_disk_is_logged_and_counted_without_the_payload(log, records):
    simulation = simulate(graph("g", source(["secret", "secret"]) >> FileWriterNode("n", "/dev/full")))
    assert [(error.node, error.message) for error in simulation.report.errors] == [
        ("n", "[Errno 28] node 'n' can't write its file: No space left on device")
    ] * 2
    assert [line["error_type"] for line in records("function_node.error")] == [
        "meridian.nodes.storage.StorageError"
    ] * 2
    assert "secret" not in log.getvalue()


@FULL
def test_without_an_output_an_error_is_only_counted():
    simulation = simulate(graph("g", source([1]) >> FileWriterNode("n", "/dev/full", config=EMITS)))
    assert simulation.report.errors_total == 1


@FULL
def test_a_full_disk_raises_an_os_error_if_the_policy_says_so():
    harness = NodeTestHarness(FileWriterNode("n", "/dev/full", config=RAISES))
    with pytest.raises(OSError, match="No space left") as caught:
        harness.send_message("input", "secret")
    assert caught.value.errno == errno.ENOSPC


def test_a_line_that_doesnt_fit_leaves_no_part_of_itself(tmp_path: Path):
    path = tmp_path / "out.txt"
    harness = NodeTestHarness(FileWriterNode("n", str(path), config=RAISES))
    harness.send_message("input", "short")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(OSError, match="can't write its file"):
            harness.send_message("input", "longer than that")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    harness.send_message("input", "next")
    assert path.read_text() == "short\nnext\n"


def test_a_payload_without_text_follows_the_error_policy(tmp_path: Path):
    class Shy:
        def __str__(self) -> str:
            raise ValueError("secret")

    path = tmp_path / "out.txt"
    simulation = simulate(graph("g", source([Shy(), "\ud800", 1]) >> FileWriterNode("n", str(path))))
    assert [error.type for error in simulation.report.errors] == ["ValueError", "UnicodeEncodeError"]
    assert "secret" not in str(simulation.report)
    assert path.read_text() == "1\n"


def test_a_file_that_isnt_one_is_told_without_its_name(tmp_path: Path):
    simulation = simulate(graph("g", source([1]) >> FileWriterNode("n", str(tmp_path))))
    assert "can't write its file: Is a directory" in simulation.report.errors[0].message


# --- reading files


def read(made: FileReaderNode, capacity: int = 1000, seed: int = 0) -> tuple[Watch, Any]:
    watch = Watch()
    simulation = simulate(graph("g", made >> via(capacity=capacity) >> watch), seed=seed)
    return watch, simulation


def follow(made: FileReaderNode, *steps: tuple[float, Any], until_s: float = 100) -> Watch:
    """Run a reader while functions are called, each at its second."""
    watch = Watch()
    built = Subgraph.from_nodes("g", [made, watch])
    built.connect((made.name, "output"), ("watch", "in"))
    other = graph("h", timed(*steps) >> sink(lambda _: None, name="nothing"))
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=1000))
    scheduler.register(built)
    scheduler.register(other)
    simulate(scheduler, until_s=until_s)
    return watch


@pytest.mark.v1("D64")
def test_without_following_the_file_is_read_to_its_end_and_the_run_ends(tmp_path: Path):
    path = tmp_path / "in.txt"
    path.write_bytes("eins\r\n\nzwei ä\ndrei".encode())
    watch, simulation = read(FileReaderNode("n", str(path), follow_mode=False))
    assert watch.payloads == ["eins", "", "zwei ä", "drei"]
    assert (simulation.report.reason, simulation.elapsed_s) == ("finished", 0.001)


def test_without_following_a_missing_file_is_the_end_and_the_log_says_so(tmp_path: Path, records):
    watch, simulation = read(FileReaderNode("n", tmp_path / "none", follow_mode=False))
    assert (watch.got, simulation.report.reason, simulation.report.errors) == ([], "finished", [])
    assert [(line["level"], line["node"]) for line in records("file_reader.missing")] == [("WARN", "n")]


def test_a_file_that_is_waited_for_is_not_said_to_be_missing(tmp_path: Path, records):
    harness = NodeTestHarness(FileReaderNode("n", tmp_path / "none"))
    harness.trigger_tick()
    assert records("file_reader.missing") == []


@pytest.mark.v1("L11")
def test_a_harness_reads_new_lines_tick_by_tick(tmp_path: Path):
    path = tmp_path / "in.txt"
    harness = NodeTestHarness(FileReaderNode("n", str(path), polling_interval_ms=1))
    harness.trigger_tick()
    path.write_text("one\ntwo\n")
    harness.trigger_tick()
    assert payloads(harness) == ["one", "two"]
    harness.trigger_tick()
    harness.trigger_tick()
    with path.open("a") as file:
        file.write("three\n")
    harness.trigger_tick()
    harness.trigger_tick()
    assert payloads(harness) == ["one", "two", "three"]


@pytest.mark.v1("D64")
def test_a_part_of_a_line_is_held_back_until_its_newline_comes(tmp_path: Path):
    path = tmp_path / "in.txt"
    path.write_bytes("one\ntw\xc3".encode("latin-1"))

    def more() -> None:
        with path.open("ab") as file:
            file.write(b"\xa4\n")  # the other half of an ä

    watch = follow(FileReaderNode("n", path), (5.5, more))
    assert watch.got == [(0, "one"), (6, "twä")]


def test_a_file_is_looked_at_exactly_every_interval(tmp_path: Path):
    path = tmp_path / "in.txt"

    def write(text: str) -> Any:
        def append() -> None:
            with path.open("a") as file:
                file.write(text)

        return append

    made = FileReaderNode("n", path, polling_interval_ms=730)
    watch = follow(made, (0.1, write("a\n")), (0.8, write("b\n")), (3.0, write("c\n")))
    assert watch.got == [
        (0.73, "a"),
        (1.46, "b"),
        (3.65, "c"),
    ]


@pytest.mark.v1("L1")
def test_following_is_an_endless_ticker_so_the_run_ends_at_a_quiet_moment(tmp_path: Path):
    path = tmp_path / "in.txt"
    path.write_text("one\n")
    watch, simulation = read(FileReaderNode("n", path))
    assert (watch.payloads, simulation.report.reason) == (["one"], "quiet")
    assert 2 <= simulation.elapsed_s < 2.2


@pytest.mark.v1("D64")
def test_a_truncated_file_is_read_from_its_beginning(tmp_path: Path):
    path = tmp_path / "in.txt"
    path.write_text("a long first line\npart")
    watch = follow(FileReaderNode("n", path), (5, lambda: path.write_text("new\n")))
    assert watch.payloads == ["a long first line", "new"]


def test_a_rotated_file_is_read_to_its_end_and_then_the_new_one(tmp_path: Path):
    path = tmp_path / "in.txt"
    path.write_text("one\n")

    def rotate() -> None:
        path.rename(tmp_path / "in.txt.1")
        with (tmp_path / "in.txt.1").open("a") as file:
            file.write("two\nlast words")

    def renew() -> None:
        path.write_text("three\nfour\nfive is a longer file\n")

    watch = follow(FileReaderNode("n", path), (5.2, rotate), (5.4, renew))
    assert watch.payloads == ["one", "two", "last words", "three", "four", "five is a longer file"]


def test_a_file_moved_away_is_read_on_until_there_is_a_new_one(tmp_path: Path):
    path = tmp_path / "in.txt"
    path.write_text("one\n")
    old = tmp_path / "old"

    def late() -> None:
        with old.open("a") as file:
            file.write("two\n")

    steps = (3, lambda: path.rename(old)), (6, late), (9, lambda: path.write_text("three\n"))
    assert follow(FileReaderNode("n", path), *steps).payloads == ["one", "two", "three"]


def test_what_is_no_utf8_is_replaced(tmp_path: Path):
    path = tmp_path / "in.txt"
    path.write_bytes(b"\xff\xfe\x00a\nfine\n")
    watch, _ = read(FileReaderNode("n", path, follow_mode=False))
    assert watch.payloads == ["\ufffd\ufffd\x00a", "fine"]


def test_overlong_lines_come_in_pieces_that_cut_no_character(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(storage, "BLOCK_BYTES", 4)
    monkeypatch.setattr(storage, "MAX_LINE_BYTES", 10)
    path = tmp_path / "in.txt"
    text = "äöüäöüäöü€" * 3
    path.write_text("ok\n" + text + "\nend", encoding="utf-8")
    watch, _ = read(FileReaderNode("n", path, follow_mode=False))
    assert (watch.payloads[0], watch.payloads[-1], "".join(watch.payloads[1:-1])) == ("ok", "end", text)
    assert all(len(piece.encode()) <= 10 for piece in watch.payloads)


def test_a_tick_reads_a_bounded_number_of_lines(tmp_path: Path):
    path = tmp_path / "in.txt"
    path.write_bytes(b"\n" * 2500)
    harness = NodeTestHarness(FileReaderNode("n", path))
    seen = []
    for _ in range(4):
        harness.trigger_tick()
        seen.append(len(payloads(harness)))
    assert seen == [1000, 2000, 2500, 2500]


def test_a_tick_reads_a_bounded_number_of_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "in.txt"
    path.write_bytes(b"x" * 99 + b"\n" + b"y" * 5_000_000 + b"\n")
    asked: list[int] = []
    real = os.read
    monkeypatch.setattr(os, "read", lambda file, most: asked.append(most) or real(file, most))
    watch, _ = read(FileReaderNode("n", path, follow_mode=False))
    assert "".join(watch.payloads) == "x" * 99 + "y" * 5_000_000
    assert max(asked) <= storage.MAX_LINE_BYTES


def test_a_huge_file_is_read_to_its_end_before_the_run_ends_by_itself(tmp_path: Path):
    path = tmp_path / "in.txt"
    path.write_text("".join(f"{i}\n" for i in range(5000)))
    watch = Watch()
    built = Subgraph.from_nodes("g", [FileReaderNode("n", path), watch])
    built.connect(("n", "output"), ("watch", "in"))
    simulate(built, config=SchedulerConfig(shutdown_timeout_s=0))
    assert watch.payloads == [str(i) for i in range(5000)]


@pytest.mark.req("V4")
@pytest.mark.v1("D52", "D64")
@given(
    lines=st.lists(st.sampled_from(["", "a", "bb", "ccc\r", "äöü", "x" * 30]), max_size=40),
    ending=st.sampled_from(["", "\n"]),
    capacity=st.sampled_from([1, 2, 100]),
    parked=st.sampled_from([0, 1, 3, 1024]),
    block=st.sampled_from([1, 8, 65536]),
    seed=st.integers(0, 5),
)
def test_a_reader_loses_repeats_and_reorders_no_line(
    tmp_path_factory: pytest.TempPathFactory, lines, ending, capacity, parked, block, seed
):
    path = tmp_path_factory.mktemp("read") / "in.txt"
    text = "\n".join(lines) + ending
    path.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "BLOCK_BYTES", block)
        made = FileReaderNode("n", path, follow_mode=False)
        made.max_parked = parked
        watch, simulation = read(made, capacity=capacity, seed=seed)
    expected = text.split("\n")
    assert watch.payloads == [
        line.removesuffix("\r") for line in (expected if expected[-1] else expected[:-1])
    ]
    assert simulation.report.reason == "finished"
    assert made.position == len(text.encode())


def test_the_position_moves_on_only_when_a_line_was_accepted(tmp_path: Path):
    path = tmp_path / "in.txt"
    path.write_text("one\ntwo\nthree\n")
    made = FileReaderNode("n", path)
    accepted: list[str] = []

    def emit(port: str, msg: Message[Any]) -> Message[Any]:
        if len(accepted) == 1:
            raise BackpressureError("edge", 1, "n", port, msg)
        accepted.append(msg.payload)
        return msg

    made.emit = emit
    made.on_tick()
    assert (accepted, made.position) == (["one"], 4)
    assert made.has_pending() is True
    accepted.append("room")
    made.on_tick()
    assert (accepted, made.position) == (["one", "room", "two", "three"], 14)


def test_the_next_run_goes_on_where_the_last_one_stopped(tmp_path: Path):
    path = tmp_path / "in.txt"
    path.write_text("one\n")
    made = FileReaderNode("n", path, follow_mode=False)
    watch = Watch()
    built = graph("g", made >> watch)
    simulate(built)
    with path.open("a") as file:
        file.write("two\n")
    simulate(built)
    assert watch.payloads == ["one", "two"]


def test_another_file_of_that_name_is_read_from_its_beginning_in_the_next_run(tmp_path: Path):
    path = tmp_path / "in.txt"
    path.write_text("one\n")
    made = FileReaderNode("n", path, follow_mode=False)
    watch = Watch()
    built = graph("g", made >> watch)
    simulate(built)
    path.rename(tmp_path / "kept")
    path.write_text("two, longer\n")
    simulate(built)
    assert watch.payloads == ["one", "two, longer"]


def test_a_shutdown_does_not_wait_for_the_rest_of_the_file(tmp_path: Path):
    path = tmp_path / "in.txt"
    path.write_text("".join(f"{i}\n" for i in range(100_000)))
    made = FileReaderNode("n", path, follow_mode=False)
    scheduler = Scheduler()

    def stop(line: str) -> None:
        if line == "10":
            scheduler.shutdown()

    scheduler.register(graph("g", made >> via(capacity=16) >> sink(stop, name="end")))
    report = simulate(scheduler).report
    assert report.reason == "shutdown"
    assert sum(edge.delivered for edge in report.edges) <= 2000
    assert report.left == {}


def test_what_can_not_be_read_follows_the_error_policy(tmp_path: Path):
    _, simulation = read(FileReaderNode("n", tmp_path, follow_mode=False))
    assert [error.message for error in simulation.report.errors] == [
        "[Errno 21] node 'n' can't read its file: Is a directory"
    ]
    with pytest.raises(OSError, match="can't read its file"):
        NodeTestHarness(FileReaderNode("n", tmp_path, config=RAISES)).trigger_tick()


def test_a_failure_to_read_is_told_at_each_look_and_reading_goes_on(tmp_path: Path):
    path = tmp_path / "in.txt"
    path.mkdir()

    def mend() -> None:
        path.rmdir()
        path.write_text("at last\n")

    made = FileReaderNode("n", path, polling_interval_ms=1000)
    assert follow(made, (2.5, mend)).payloads == ["at last"]


def test_a_reader_that_nobody_stops_lets_go_of_its_file(tmp_path: Path):
    path = tmp_path / "in.txt"
    path.write_text("one\n")
    harness = NodeTestHarness(FileReaderNode("n", path))
    harness.trigger_tick()
    file = harness.node._file
    os.fstat(file)
    del harness
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file)


# --- what they are made with


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: CacheNode("n", max_size=0), ValueError, "CacheNode 'n': max_size must be at least 1, got 0"),
        (lambda: CacheNode("n", ttl_seconds=-1), ValueError, "ttl_seconds must be 0 or more, got -1"),
        (lambda: CacheNode("n", ttl_seconds="1"), TypeError, "ttl_seconds must be a number"),
        (lambda: CacheNode("n", eviction_policy="mru"), ValueError, "EvictionPolicy.LRU or EvictionPolicy.FIFO"),
        (lambda: BufferNode("n", buffer_size=True), TypeError, "buffer_size must be a whole number"),
        (lambda: BufferNode("n", persistence_strategy=1), TypeError, "persistence_strategy must be Persist"),
        (lambda: BufferNode("n", flush_interval_ms=None), TypeError, "flush_interval_ms must be a number"),
        (lambda: FileWriterNode("n", 3), TypeError, "FileWriterNode 'n': file_path must be a path, got 3"),
        (lambda: FileWriterNode("n", ""), ValueError, "file_path must be a path, got ''"),
        (lambda: FileReaderNode("n", None), TypeError, "file_path must be a path"),
        (lambda: FileReaderNode("n", "f", follow_mode="yes"), TypeError, "follow_mode must be True or False"),
    ],
)  # fmt: skip
def test_wrong_parameters_are_refused_with_name_value_and_what_is_allowed(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_the_order_of_positional_parameters_is_that_of_v1(tmp_path: Path):
    config = NodeConfig()
    assert list(CacheNode("n", 10, 5, EvictionPolicy.FIFO, "in", "out", config).port_map()) == ["in", "out"]
    assert list(BufferNode("n", 10, PersistenceStrategy.MEMORY_ONLY, 5, "in", "out", config).port_map()) == [
        "in",
        "out",
    ]
    assert list(FileWriterNode("n", str(tmp_path / "f"), "in", config).port_map()) == ["in"]
    assert list(FileReaderNode("n", str(tmp_path / "f"), 5, True, "out", config).port_map()) == ["out"]


def test_an_enum_may_be_given_by_its_value():
    requests = (put("a"), put("b"), get("a"), put("c"), get("a"))
    assert answers(CacheNode("n", 2, 0, "fifo"), *requests)[-1] == missed("a")
