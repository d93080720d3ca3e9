"""State machines, sessions, counters and windows: exact on the run's clock, and nothing lost at the end."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian._tests.nodes.parts import EMITS, RAISES, payloads, run
from meridian.core.message import CONTROL, DATA, Message
from meridian.core.policies import ErrorPolicy
from meridian.nodes.base import NodeConfig
from meridian.nodes.state_management import CounterNode, SessionNode, StateMachineNode, WindowNode, WindowType
from meridian.testing import NodeTestHarness

pytestmark = pytest.mark.req("V11")


NODES = {
    "state machine": lambda: StateMachineNode("n", "s", lambda state, payload: state),
    "sessions": lambda: SessionNode("n"),
    "counter": lambda: CounterNode("n", ["a"]),
    "window": lambda: WindowNode("n"),
}


@pytest.mark.parametrize("make", NODES.values(), ids=NODES)
def test_control_and_error_are_forwarded_as_they_are(make):
    harness = NodeTestHarness(make())
    harness.send_control("input", "go")
    harness.send_error("input", {"why": 1})
    assert [(m.type.value, m.payload) for m in harness.get_emitted_messages("output")] == [
        ("CONTROL", "go"),
        ("ERROR", {"why": 1}),
    ]


@pytest.mark.parametrize("make", NODES.values(), ids=NODES)
def test_messages_on_other_ports_are_ignored(make):
    harness = NodeTestHarness(make())
    harness.send_message("elsewhere", "a")
    harness.send_control("elsewhere")
    harness.node.on_drain()
    assert payloads(harness) == []


# --- state machine


def test_a_change_of_state_is_told_and_the_same_state_is_not():
    harness = NodeTestHarness(StateMachineNode("n", "a", lambda state, payload: payload))
    for payload in ("a", "b", "b", "a"):
        harness.send_message("input", payload)
    assert payloads(harness) == [
        {"event": "state_changed", "from": "a", "to": "b"},
        {"event": "state_changed", "from": "b", "to": "a"},
    ]
    assert harness.node.state == "a"


@pytest.mark.v1("D54")
def test_the_told_change_keeps_trace_headers_and_metadata():
    harness = NodeTestHarness(StateMachineNode("n", "a", lambda state, payload: payload))
    harness.send_message("input", "b", metadata={"m": 1}, headers={"trace_id": "t", "tenant": "x"})
    told = harness.get_emitted_messages("output")[0]
    assert (told.get_trace_id(), told.headers["tenant"], told.metadata) == ("t", "x", {"m": 1})


@pytest.mark.parametrize("policy", ErrorPolicy)
def test_a_raising_transition_changes_nothing_whatever_the_policy(policy):
    def transition(state: str, payload: str) -> str:
        raise ValueError(payload)

    made = StateMachineNode("n", "a", transition, config=NodeConfig(error_policy=policy))
    watch, simulation = run(made, (0, "secret"))
    assert (made.state, watch.got) == ("a", [])
    assert [(error.node, error.type) for error in simulation.report.errors] == [("n", "ValueError")]
    assert "secret" not in str(simulation.report)


def test_a_state_machine_needs_a_function():
    with pytest.raises(ValueError, match="function"):
        StateMachineNode("n", "a", None)


# --- sessions


def started(key: Any) -> dict[str, Any]:
    return {"event": "session_started", "key": key}


def expired(key: Any) -> dict[str, Any]:
    return {"event": "session_expired", "key": key}


def test_a_session_expires_exactly_one_timeout_after_its_last_message():
    watch, _ = run(SessionNode("n", session_timeout_ms=1000), (0, "a"), (0.7, "a"), (1.2, "b"), (10, "c"))
    assert watch.got == [
        (0, started("a")),
        (1.2, started("b")),
        (1.7, expired("a")),
        (2.2, expired("b")),
        (10, started("c")),
        (10, expired("c")),  # the end of the run
    ]


def test_a_message_in_the_moment_of_the_timeout_begins_a_new_session():
    watch, _ = run(SessionNode("n", session_timeout_ms=1000), (0, "a"), (1, "a"))
    assert watch.got == [(0, started("a")), (1, expired("a")), (1, started("a")), (1, expired("a"))]


def test_a_full_node_ends_the_session_that_was_renewed_least_recently_first():
    watch, _ = run(SessionNode("n", max_sessions=2), (0, "a"), (1, "b"), (2, "a"), (3, "c"))
    assert watch.got == [
        (0, started("a")),
        (1, started("b")),
        (3, expired("b")),
        (3, started("c")),
        (3, expired("a")),
        (3, expired("c")),
    ]


def test_the_key_is_the_text_of_the_payload_or_what_a_function_says():
    harness = NodeTestHarness(SessionNode("n"))
    harness.send_message("input", 7)
    assert payloads(harness) == [started("7")]
    harness = NodeTestHarness(SessionNode("n", session_key_fn=lambda payload: payload["user"]))
    harness.send_message("input", {"user": 7})
    assert payloads(harness) == [started(7)]


def test_a_key_function_that_fails_or_gives_no_key_follows_the_error_policy():
    harness = NodeTestHarness(SessionNode("n", session_key_fn=lambda payload: payload["user"], config=EMITS))
    harness.send_message("input", {})
    harness.send_message("input", {"user": []})
    errors = harness.get_emitted_messages("output")
    assert [(each.type.value, each.payload["error_type"]) for each in errors] == [
        ("ERROR", "KeyError"),
        ("ERROR", "TypeError"),
    ]
    harness = NodeTestHarness(SessionNode("n", session_key_fn=lambda payload: payload["user"], config=RAISES))
    with pytest.raises(KeyError):
        harness.send_message("input", {})


@pytest.mark.v1("L11")
def test_sessions_expire_by_hand_in_a_harness(monkeypatch: pytest.MonkeyPatch):
    made = SessionNode("n", session_timeout_ms=1000)
    now = 50.0
    monkeypatch.setattr(made, "now", lambda: now)
    harness = NodeTestHarness(made)
    harness.send_message("input", "a")
    now = 50.999
    harness.trigger_tick()
    assert payloads(harness) == [started("a")]
    now = 51.0
    harness.trigger_tick()
    harness.trigger_tick()
    assert payloads(harness) == [started("a"), expired("a")]


@pytest.mark.req("V4")
@given(
    keys=st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abcde")), max_size=25),
    capacity=st.sampled_from([1, 2, 100]),
    most=st.sampled_from([1, 3, 100]),
    seed=st.integers(0, 5),
)
def test_every_session_that_starts_expires_once_and_they_never_overlap(keys, capacity, most, seed):
    steps, now = [], 0
    for wait, key in keys:
        now += wait
        steps.append((now / 10, key))
    watch, _ = run(
        SessionNode("n", session_timeout_ms=1000, max_sessions=most), *steps, capacity=capacity, seed=seed
    )
    is_open: set[str] = set()
    for event in watch.payloads:
        if event["event"] == "session_started":
            assert event["key"] not in is_open
            is_open.add(event["key"])
            assert len(is_open) <= most
        else:
            is_open.remove(event["key"])
    assert is_open == set()
    assert {event["key"] for event in watch.payloads} == {key for _, key in keys}


# --- counters


def test_numbers_of_known_keys_add_up_and_a_known_text_counts_one():
    harness = NodeTestHarness(CounterNode("n", ["a", "b"]))
    for payload in ({"a": 2, "b": 0.5, "c": 9}, "a", "c", {"a": "no number"}, 5, None, {"a": -1}):
        harness.send_message("input", payload)
    harness.trigger_tick()
    assert payloads(harness) == [{"a": 2.0, "b": 0.5}]
    assert all(type(value) is float for value in payloads(harness)[0].values())


def test_the_first_tick_tells_at_once_and_the_next_one_after_the_interval():
    harness = NodeTestHarness(CounterNode("n", ["a"], summary_interval_ms=60_000))
    harness.trigger_tick()
    harness.trigger_tick()
    assert payloads(harness) == [{"a": 0.0}]


def test_summaries_come_exactly_every_interval_from_the_start_and_the_rest_at_the_end():
    made = CounterNode("n", ["a"], summary_interval_ms=1000)
    watch, _ = run(made, (0.5, "a"), (1.5, "a"), (2.5, "a"))
    assert watch.got == [(0, {"a": 0.0}), (1, {"a": 1.0}), (2, {"a": 2.0}), (2.5, {"a": 3.0})]


def test_nothing_new_is_nothing_to_tell_at_the_end():
    watch, _ = run(CounterNode("n", ["a"], summary_interval_ms=1000), (0.5, "a"), (1.5, "other"))
    assert watch.got == [(0, {"a": 0.0}), (1, {"a": 1.0})]


@pytest.mark.req("V4")
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(-5, 5)), max_size=30), st.sampled_from([1, 100]))
def test_sums_that_are_reset_add_up_to_everything(steps, capacity):
    now, feed = 0.0, []
    for wait, value in steps:
        now += wait / 10
        feed.append((now, {"a": value}))
    made = CounterNode("n", ["a"], summary_interval_ms=700, reset_on_summary=True)
    watch, _ = run(made, *feed, capacity=capacity)
    assert sum(each["a"] for each in watch.payloads) == sum(value for _, value in steps)


@pytest.mark.parametrize("keys", ["abc", [1], b"a", 5])
def test_counter_keys_are_a_list_of_texts(keys):
    with pytest.raises(TypeError, match=r"CounterNode 'n': counter_keys must be a list of str"):
        CounterNode("n", keys)


# --- windows


@pytest.mark.v1("D70")
def test_a_window_opens_with_its_first_item_and_closes_exactly_after_its_size():
    watch, _ = run(WindowNode("n", window_size_ms=1000), (0.25, 1), (0.5, 2), (5, 3), (7.5, 4))
    assert watch.got == [(1.25, [1, 2]), (6, [3]), (7.5, [4])]


def test_what_comes_when_a_window_closes_belongs_to_the_next():
    watch, _ = run(WindowNode("n", window_size_ms=1000), (0, 1), (0.999, 2), (1, 3))
    assert watch.payloads == [[1, 2], [3]]


def test_a_function_makes_of_the_list_what_is_emitted():
    watch, _ = run(WindowNode("n", aggregation_fn=sum), (0, 1), (0, 2))
    assert watch.payloads == [3]


def test_a_function_that_returns_none_emits_nothing():
    watch, _ = run(WindowNode("n", aggregation_fn=lambda items: None), (0, 1))
    assert watch.payloads == []


@pytest.mark.v1("D70", "L11")
def test_control_closes_the_open_window_and_is_forwarded_behind_it():
    harness = NodeTestHarness(WindowNode("n"))
    harness.send_message("input", 1)
    harness.send_control("input", "flush")
    harness.send_control("input", "again")
    assert payloads(harness) == [[1], "flush", "again"]


@pytest.mark.v1("D70")
def test_the_end_of_the_run_closes_the_open_window_at_once():
    watch, simulation = run(WindowNode("n", window_size_ms=3_600_000), (0, 1), (2, 2))
    assert (watch.got, simulation.elapsed_s) == ([(2, [1, 2])], 2)


@pytest.mark.v1("L11")
def test_a_window_closes_by_hand_in_a_harness(monkeypatch: pytest.MonkeyPatch):
    made = WindowNode("n", window_size_ms=1000)
    now = 50.0
    monkeypatch.setattr(made, "now", lambda: now)
    harness = NodeTestHarness(made)
    harness.send_message("input", 1)
    harness.trigger_tick()
    assert payloads(harness) == []
    now = 51.0
    harness.trigger_tick()
    assert payloads(harness) == [[1]]


def test_a_window_whose_tick_is_late_is_closed_before_the_next_item_comes_in(monkeypatch: pytest.MonkeyPatch):
    made = WindowNode("n", window_size_ms=1000)
    now = 50.0
    monkeypatch.setattr(made, "now", lambda: now)
    harness = NodeTestHarness(made)
    harness.send_message("input", 1)
    now = 52.0
    harness.send_message("input", 2)
    assert payloads(harness) == [[1]]
    made.on_drain()
    assert payloads(harness) == [[1], [2]]


@pytest.mark.parametrize("steps", [[(0, 1), (0.5, 2), (1.0, 3), (1.2, 4), (5, 5)]])
def test_sliding_windows_slide(steps):
    made = WindowNode("n", window_size_ms=1000, slide_interval_ms=400)
    watch, _ = run(made, *steps)
    assert watch.got == [(1, [1, 2]), (1.4, [2, 3, 4]), (1.8, [3, 4]), (2.2, [4]), (5, [5])]


def test_the_end_closes_the_oldest_of_the_sliding_windows_which_holds_what_the_others_hold():
    made = WindowNode("n", window_size_ms=1000, slide_interval_ms=400)
    watch, _ = run(made, (0, 1), (0.5, 2), (1.1, 3))
    assert watch.got == [(1, [1, 2]), (1.1, [2, 3])]


@pytest.mark.req("V4")
@given(
    waits=st.lists(st.integers(0, 15), max_size=20),
    capacity=st.sampled_from([1, 2, 100]),
    fails=st.booleans(),
    seed=st.integers(0, 5),
)
def test_tumbling_windows_lose_repeat_and_reorder_nothing(waits, capacity, fails, seed):
    now, steps = 0, []
    for i, wait in enumerate(waits):
        now += wait
        steps.append((now / 10, i))
    windows: list[list[int]] = []

    def aggregate(items: list[int]) -> list[int]:
        windows.append(items)
        if fails and len(windows) % 2:
            raise ValueError
        return items

    made = WindowNode("n", window_size_ms=1000, aggregation_fn=aggregate)
    watch, _ = run(made, *steps, capacity=capacity, seed=seed)
    assert [item for window in windows for item in window] == list(range(len(waits)))
    assert watch.payloads == [
        window for number, window in enumerate(windows, 1) if not (fails and number % 2)
    ]
    at = {i: at for at, i in steps}
    assert all(at[window[-1]] - at[window[0]] < 1 for window in windows)


@pytest.mark.req("V4")
@given(
    waits=st.lists(st.integers(0, 15), max_size=15),
    slide=st.sampled_from([1, 3, 7, 10]),
    capacity=st.sampled_from([1, 100]),
    seed=st.integers(0, 5),
)
def test_an_item_is_in_each_sliding_window_that_is_open_when_it_comes(waits, slide, capacity, seed):
    """The model: windows as intervals, computed from when items came."""
    now, steps = 0, []
    for i, wait in enumerate(waits):
        now += wait
        steps.append((now, i))
    expected: list[list[int]] = []
    left = list(steps)
    while left:
        opened = left[0][0]
        while left:
            closes = opened + 10
            inside = [i for at, i in left if at < closes]
            if closes > now:  # the source has ended by then
                expected.append([i for _, i in left])
                left = []
                break
            expected.append(inside)
            opened += slide
            left = [(at, i) for at, i in left if at >= opened]
            if left and left[0][0] >= closes:  # nothing was kept when that window closed: a new row begins
                break
    made = WindowNode("n", window_size_ms=1000, slide_interval_ms=slide * 100)
    watch, _ = run(made, *((at / 10, i) for at, i in steps), capacity=capacity, seed=seed)
    assert watch.payloads == expected
    times = Counter(item for window in watch.payloads for item in window)
    assert all(1 <= times[i] <= math.ceil(10 / slide) for i in range(len(waits)))


def test_a_failing_function_is_told_as_the_policy_says_and_the_window_is_gone():
    def fail(items: list[Any]) -> Any:
        raise ValueError("secret")

    watch, simulation = run(WindowNode("n", window_size_ms=1000, aggregation_fn=fail), (0, "secret"))
    assert watch.got == []
    assert [(error.node, error.type) for error in simulation.report.errors] == [("n", "ValueError")]

    watch, _ = run(WindowNode("n", window_size_ms=1000, aggregation_fn=fail, config=EMITS), (0, 1), (5, 2))
    assert [(at, payload["error_type"]) for at, payload in watch.got] == [
        (1, "ValueError"),
        (5, "ValueError"),
    ]

    harness = NodeTestHarness(WindowNode("n", aggregation_fn=fail, config=RAISES))
    harness.send_message("input", 1)
    with pytest.raises(ValueError, match="secret"):
        harness.send_control("input", "flush")
    assert payloads(harness) == ["flush"]  # forwarded all the same
    harness.node.on_drain()  # and the window is gone


def test_a_raising_function_leaves_the_windows_after_it_their_time():
    seen: list[list[int]] = []

    def fail_first(items: list[int]) -> list[int]:
        seen.append(items)
        if len(seen) == 1:
            raise ValueError
        return items

    made = WindowNode(
        "n", window_size_ms=1000, slide_interval_ms=500, aggregation_fn=fail_first, config=RAISES
    )
    watch, _ = run(made, (0, 1), (0.6, 2), (9, 3))
    assert watch.got == [(1.5, [2]), (9, [3])]


# --- what they are made with


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: WindowNode("n", window_size_ms="1"), TypeError, "window_size_ms must be a number, got '1'"),
        (lambda: WindowNode("n", window_size_ms=math.inf), ValueError, "window_size_ms must be a finite number"),
        (lambda: WindowNode("n", "sliding"), ValueError, "window_type must be WindowType.TUMBLING, got 'sliding'"),
        (lambda: WindowNode("n", 7), TypeError, "window_type must be WindowType.TUMBLING, got 7"),
        (
            lambda: WindowNode("n", window_size_ms=10, slide_interval_ms=11),
            ValueError,
            r"slide_interval_ms must be at most window_size_ms \(10\)",
        ),
        (lambda: WindowNode("n", aggregation_fn=3), ValueError, "a function is needed, got int"),
        (lambda: SessionNode("n", max_sessions=0), ValueError, "SessionNode 'n': max_sessions must be at least 1"),
        (lambda: SessionNode("n", max_sessions=1.5), TypeError, "max_sessions must be a whole number"),
        (lambda: SessionNode("n", session_key_fn="k"), ValueError, "a function is needed, got str"),
        (lambda: CounterNode("n", ["a"], reset_on_summary=1), TypeError, "reset_on_summary must be True or False"),
    ],
)  # fmt: skip
def test_wrong_parameters_are_refused_with_name_value_and_what_is_allowed(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_intervals_below_a_millisecond_count_as_one():
    watch, _ = run(WindowNode("n", window_size_ms=0), (0, 1), (1, 2))
    assert watch.got == [(0.001, [1]), (1, [2])]


def test_the_order_of_positional_parameters_is_that_of_v1():
    made = WindowNode("n", WindowType.TUMBLING, 1000, None, sum, "in", "out", NodeConfig())
    harness = NodeTestHarness(made)
    harness.send_message("in", 1)
    made.on_drain()
    assert payloads(harness, "out") == [1]
    made = SessionNode("n", 1000, 5, str, "in", "out", NodeConfig())
    assert list(made.port_map()) == ["in", "out"]
    made = CounterNode("n", ["a"], 1000, True, "in", "out", NodeConfig())
    assert list(made.port_map()) == ["in", "out"]
    made = StateMachineNode("n", "a", lambda state, payload: state, "in", "out", NodeConfig())
    assert list(made.port_map()) == ["in", "out"]


# --- again


@pytest.mark.parametrize(
    ("make", "end"),
    [
        (lambda: WindowNode("n", window_size_ms=1000), [1, 2]),
        (lambda: SessionNode("n", session_timeout_ms=1000), expired("2")),
    ],
)
def test_what_a_node_held_when_a_run_was_aborted_has_its_time_in_the_next_one(make, end):
    made = make()
    harness = NodeTestHarness(made)
    harness.send_message("input", 1)
    harness.send_message("input", 2)
    watch, _ = run(made, (3, Message(CONTROL, "late")))
    assert (1, end) in watch.got


def test_messages_of_data_type_are_what_windows_are_made_of():
    watch, _ = run(WindowNode("n"), (0, 1))
    assert [message.type for message in watch.messages] == [DATA]
