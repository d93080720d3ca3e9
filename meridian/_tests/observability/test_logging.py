from __future__ import annotations

import io
import json
import os
import sys
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian.observability import configure, get_logger, with_context
from meridian.observability import logging as log
from meridian.observability.logging import LogConfig, Logger, LogLevel


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def logger(clock: Clock | None = None, **config: Any) -> tuple[Logger, io.StringIO]:
    stream = io.StringIO()
    clock = clock or Clock()
    return Logger(LogConfig(stream=stream, **config), wall_clock=clock, monotonic=clock), stream


def only(stream: io.StringIO) -> dict[str, Any]:
    (line,) = stream.getvalue().splitlines()
    return json.loads(line)


# --- levels


def test_levels_compare_equal_to_their_names():
    assert [level == level.name for level in LogLevel] == [True] * 4
    assert [level.name for level in LogLevel] == ["DEBUG", "INFO", "WARN", "ERROR"]
    assert str(LogLevel.INFO) == "LogLevel.INFO"


def test_levels_are_ranked_by_urgency():
    assert [level.rank for level in LogLevel] == [10, 20, 30, 40]


@pytest.mark.parametrize(
    ("given_level", "level"),
    [("info", LogLevel.INFO), ("Warning", LogLevel.WARN), (LogLevel.ERROR, LogLevel.ERROR)],
)
def test_a_level_is_parsed_in_any_case(given_level: str, level: LogLevel):
    assert LogLevel.parse(given_level) is level


@pytest.mark.parametrize("bad", ["LOUD", "", 10])
def test_an_unknown_level_is_a_value_error(bad: Any):
    with pytest.raises(ValueError, match="use DEBUG, INFO, WARN or ERROR"):
        LogLevel.parse(bad)


@pytest.mark.parametrize("level", list(LogLevel))
def test_a_logger_writes_its_level_and_above(level: LogLevel):
    made, stream = logger(level=level)
    for name in ("debug", "info", "warn", "error"):
        getattr(made, name)("e", "m")
    written = [json.loads(line)["level"] for line in stream.getvalue().splitlines()]
    assert written == [each.name for each in LogLevel if each.rank >= level.rank]
    assert [made.is_enabled(each) for each in LogLevel] == [each.rank >= level.rank for each in LogLevel]
    assert [made.is_enabled(each.name.lower()) for each in LogLevel] == [
        made.is_enabled(each) for each in LogLevel
    ]


# --- the line


@pytest.mark.req("X1")
def test_a_record_is_one_compact_json_line():
    made, stream = logger()
    made.info("node.start", "hello", node="n")
    assert stream.getvalue() == (
        '{"ts":100.0,"level":"INFO","event":"node.start","message":"hello","node":"n"}\n'
    )


def test_context_comes_before_extra_fields_and_fields_and_later_keys_win():
    made, stream = logger(extra_fields={"node": "extra", "service": "s"})
    with with_context(
        trace_id="t", node="context", edge_id="e", port="p", message_type="DATA", tenant="acme"
    ):
        made.info("e", "m", service="field")
    assert list(only(stream).items()) == [
        ("ts", 100.0),
        ("level", "INFO"),
        ("event", "e"),
        ("message", "m"),
        ("trace_id", "t"),
        ("node", "extra"),
        ("edge_id", "e"),
        ("port", "p"),
        ("message_type", "DATA"),
        ("tenant", "acme"),
        ("service", "field"),
    ]


@pytest.mark.v1("D36")
def test_json_false_writes_pairs():
    made, stream = logger(json=False)
    made.info(
        "node.start", "hello world", node="n", count=3, ok=True, none=None, empty="", sly='x" y=1', nl="a\nb"
    )
    assert stream.getvalue() == (
        'ts=100.0 level=INFO event=node.start message="hello world" node=n count=3 ok=true none=null empty=""'
        ' sly="x\\" y=1" nl="a\\nb"\n'
    )


@given(
    st.dictionaries(st.text(), st.text() | st.integers() | st.floats() | st.binary(), max_size=5),
    st.booleans(),
)
@pytest.mark.v1("D39")
def test_any_record_is_exactly_one_line(fields: dict[str, Any], as_json: bool):
    made, stream = logger(json=as_json, extra_fields=fields)
    made.info("e", "m")
    text = stream.getvalue()
    assert made.dropped == 0
    assert text.endswith("\n")
    assert len(text.splitlines()) == 1
    if as_json:
        assert set(json.loads(text)) == {"ts", "level", "event", "message", *fields}


# --- never raises, never shows a payload


class Secret:
    def __repr__(self) -> str:
        return "4111-1111"

    __str__ = __repr__


class Hostile:
    @property  # type: ignore[misc]  # a lie on purpose
    def __class__(self) -> Any:
        raise RuntimeError("no class")

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.req("X2")
@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Secret(), "<Secret>"),
        (Hostile(), "<Hostile>"),
        (b"4111", "<bytes>"),
        ({4111}, "<set>"),
        (ValueError("4111"), "<ValueError>"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ([float("nan")], "<list>"),
    ],
    ids=range(8),  # made by hand: the hostile value can't be named
)
@pytest.mark.v1("D39")
def test_a_field_that_json_cannot_express_is_named_by_its_type(value: object, shown: str, as_json: bool):
    made, stream = logger(json=as_json)
    made.info("e", "m", bad=value, good=1)
    assert "4111" not in stream.getvalue()
    if as_json:
        assert only(stream) == {
            "ts": 100.0,
            "level": "INFO",
            "event": "e",
            "message": "m",
            "bad": shown,
            "good": 1,
        }
    else:
        assert f'bad="{shown}" good=1' in stream.getvalue()


def test_a_nested_payload_is_named_by_its_type():
    made, stream = logger()
    made.info("e", "m", items=[1, Secret()])
    assert only(stream)["items"] == [1, "<Secret>"]


@pytest.mark.v1("D39")
def test_circular_and_too_deep_fields_are_named_by_their_type():
    circle: list[Any] = []
    circle.append(circle)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    made, stream = logger()
    made.info("e", "m", circle=circle, deep=deep, good=1)
    record = only(stream)
    assert (record["circle"], record["good"]) == (["<list>"], 1)
    assert json.dumps(record["deep"]) == "[" * 15 + '"<list>"' + "]" * 15
    while deep:
        deep = deep[0]  # let go of it bit by bit: freeing it at once would recurse


def test_a_key_that_is_no_string_is_named_by_its_type():
    made, stream = logger(extra_fields={("4111",): 2})
    made.info("e", "m", nested={("4111",): 3, 5: 6, None: 7})
    assert only(stream)["<tuple>"] == 2
    assert only(stream)["nested"] == {"<tuple>": 3, "5": 6, "None": 7}


def test_a_closed_stream_drops_and_counts():
    made, stream = logger()
    stream.close()
    made.error("e", "m")
    made.error("e", "m")
    assert made.dropped == 2


def test_a_stream_without_flush_works():
    class Bare:
        text = ""

        def write(self, text: str) -> None:
            self.text += text

    bare = Bare()
    Logger(LogConfig(stream=bare)).info("e", "m")  # type: ignore[arg-type]
    assert json.loads(bare.text)["event"] == "e"


def test_a_stream_that_logs_does_not_deadlock():
    class Chatty(io.StringIO):
        def write(self, text: str) -> int:
            if "inner" not in text:
                made.info("inner", "m")
            return super().write(text)

    stream = Chatty()
    made = Logger(LogConfig(stream=stream))
    made.info("outer", "m")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["inner", "outer"]


def test_no_standard_error_stream_drops_and_counts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", None)
    made = Logger(LogConfig(stream=None))
    made.info("e", "m")
    assert made.dropped == 1


# --- the process's logger


def test_out_of_the_box_info_goes_to_standard_error_as_json(capsys: pytest.CaptureFixture[str]):
    get_logger().debug("e", "m")
    get_logger().info("e", "m")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["level"] == "INFO"


def test_a_log_config_names_the_stream_of_its_time():
    config = LogConfig()
    assert (config.level, config.json, config.stream, config.extra_fields) == (
        LogLevel.INFO,
        True,
        sys.stderr,
        {},
    )


@pytest.mark.v1("D37")
def test_a_handle_follows_reconfiguration():
    handle = get_logger()
    first, second = io.StringIO(), io.StringIO()
    configure("INFO", first)
    handle.info("one", "m")
    configure("debug", second)
    handle.debug("two", "m")
    assert (only(first)["event"], only(second)["event"]) == ("one", "two")
    assert get_logger() is handle


def test_configure_keeps_what_it_is_not_told():
    stream = io.StringIO()
    configure("INFO", stream, {"service": "s"}, json=False)
    configure("WARN")
    get_logger().warn("e", "m")
    assert stream.getvalue().endswith("level=WARN event=e message=m service=s\n")
    configure("WARN", extra={}, json=True)
    assert get_logger().config == LogConfig(LogLevel.WARN, True, stream, {})


def test_configure_with_an_unknown_level_changes_nothing(stream: io.StringIO):
    with pytest.raises(ValueError, match="LOUD"):
        configure("LOUD", io.StringIO())
    assert get_logger().config.stream is stream


def test_a_configuration_read_back_is_a_copy(stream: io.StringIO):
    get_logger().config.extra_fields["x"] = 1
    get_logger().info("e", "m")
    assert "x" not in only(stream)


def test_lines_of_several_threads_stay_whole(stream: io.StringIO):
    def write() -> None:
        for _ in range(200):
            get_logger().info("e", "m", filler="x" * 50)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 800
    assert {json.loads(line)["filler"] for line in lines} == {"x" * 50}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # 3.12: fork while threads run
def test_a_forked_child_can_log_while_the_parent_holds_the_lock():
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with get_logger()._lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:  # pragma: no cover  # another process
        free = get_logger()._lock.acquire(timeout=5)
        os._exit(0 if free else 1)
    done.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


# --- rate limit


@pytest.mark.v1("D45")
def test_a_limited_warning_is_written_once_a_second_per_key():
    clock = Clock()
    made, stream = logger(clock)
    let_through = []
    for step_ms in range(0, 2500, 10):
        clock.now = 100.0 + step_ms / 1000
        let_through.append(made.warn_limited("k", "edge.drop", "dropped", edge_id="e"))
    written = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(r["ts"], r["suppressed"]) for r in written] == [(100.0, 0), (101.0, 99), (102.0, 99)]
    assert written[0] == {
        "ts": 100.0, "level": "WARN", "event": "edge.drop", "message": "dropped", "edge_id": "e", "suppressed": 0,
    }  # fmt: skip
    assert let_through.count(True) == 3


def test_limited_keys_do_not_hide_each_other():
    made, stream = logger()
    for key in ("a", "b", ("drop", "a")):
        made.warn_limited(key, "e", "m")
    assert len(stream.getvalue().splitlines()) == 3


def test_a_limited_warning_below_the_level_is_neither_written_nor_counted():
    made, stream = logger(level="ERROR")
    assert made.warn_limited("k", "e", "m") is False
    made.reconfigure(LogConfig(stream=stream))
    made.warn_limited("k", "e", "m")
    assert only(stream)["suppressed"] == 0


def test_flushing_reports_what_was_still_suppressed_once():
    made, stream = logger()
    for _ in range(5):
        made.warn_limited("k", "edge.drop", "m")
    made.warn_limited("other", "edge.drop", "m")
    made.flush_limited()
    made.flush_limited()
    last = [json.loads(line) for line in stream.getvalue().splitlines()][2:]
    assert [(r["event"], r["suppressed"]) for r in last] == [("edge.drop", 4)]


def test_a_flood_of_keys_is_bounded_and_what_it_suppressed_is_summed_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(log, "MAX_LIMITED_KEYS", 4)
    made, stream = logger()
    for key in range(10):
        made.warn_limited(key, "e", "m")
        made.warn_limited(key, "e", "m")
        assert len(made._limits) <= 4
    made.flush_limited()
    suppressed = [json.loads(line)["suppressed"] for line in stream.getvalue().splitlines()]
    assert sum(suppressed) == 10
    assert json.loads(stream.getvalue().splitlines()[-1])["event"] == "log.suppressed"


def test_keys_that_are_due_again_make_room_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(log, "MAX_LIMITED_KEYS", 4)
    clock = Clock()
    made, _ = logger(clock)
    for key in range(4):
        made.warn_limited(key, "e", "m")
    clock.now += 1
    made.warn_limited("new", "e", "m")
    assert list(made._limits) == ["new"]


# --- what is remembered


@pytest.mark.req("N1", "X2")
def test_of_the_last_records_only_names_and_numbers_are_remembered():
    made, _ = logger()
    made.info(
        "shop.paid", "by Jane Doe", node="till", n=3, capacity=2.5, reason="Jane", left={"a": 1}, port=None
    )
    assert made.recent() == [
        {"ts": 100.0, "level": "INFO", "event": "shop.paid", "node": "till", "n": 3, "capacity": 2.5}
    ]


@pytest.mark.req("N1", "X2")
def test_what_is_remembered_went_through_the_rules_and_is_bounded():
    made, _ = logger(level="WARN")
    made.info("shop.quiet", "isn't written, and so isn't remembered")
    for i in range(log.RECENT + 10):
        made.warn("shop.loud", "text", node="jane@example.org " + "x" * 5_000, n=i)
    kept = made.recent()
    assert [record["n"] for record in kept] == list(range(10, log.RECENT + 10))
    assert str(kept[0]["node"]).startswith("[redacted:email] xxx")
    assert len(str(kept[0]["node"])) == 300


@pytest.mark.req("N1")
def test_a_record_whose_stream_is_broken_is_remembered():
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError

    made = Logger(LogConfig(stream=Broken()))
    made.error("shop.lost", "text")
    assert (made.dropped, made.recent()[0]["event"]) == (1, "shop.lost")
