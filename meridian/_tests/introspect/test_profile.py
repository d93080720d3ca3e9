"""A profile says what happened between looks: shares, rates, depths, losses, who waited for whom."""

import itertools
import json
from dataclasses import replace

import jsonschema
import pytest

from meridian import Scheduler, SchedulerConfig, drop, graph, sink, source, via
from meridian.introspect import (
    BadAnswerError,
    EdgeSnapshot,
    EngineSnapshot,
    EventsSnapshot,
    Frame,
    LoopSnapshot,
    NodeSnapshot,
    NothingRunsError,
    Percentiles,
    Recorder,
    SchedulerSnapshot,
    Snapshot,
    Watch,
)
from meridian.introspect.schema import profile_schema
from meridian.runtime.report import ErrorReport

pytestmark = pytest.mark.req("N1.3", "N7")

CANARY = "canary-91b7d2c4"


def a_node(name, **facts):
    given = {
        "state": "started", "handled": 0, "produced": 0, "errors": 0, "parked": 0, "unrouted": 0, "busy_s": 0.0,
        "type": "function", "doing": "idle", "in_flight": 0, "blocked_s": 0.0, **facts,
    }  # fmt: skip
    return NodeSnapshot(name=name, **given)


def an_edge(source_name, target_name, **facts):
    given = {
        "policy": "block", "capacity": 10, "accepted": 0, "delivered": 0, "depth": 0, "merged": 0, "lost": {},
        "source_port": "output", "target_port": "input", "band": "NORMAL", **facts,
    }  # fmt: skip
    return EdgeSnapshot(id=f"{source_name}->{target_name}", source=source_name, target=target_name, **given)


def a_shot(elapsed_s, nodes, edges=(), loop=None, **facts):
    given = {"status": "running", "reason": None, "errors_total": 0, "errors": (), **facts}
    return Snapshot(
        schema_version="1.0", meridian="2.0.0", pid=7, run="7-1", at_s=elapsed_s, wall_s=elapsed_s, elapsed_s=elapsed_s,
        window_s=None, engine=EngineSnapshot("python", "because"), cpu=None,
        scheduler=SchedulerSnapshot((), 0, 0, 0, 0, False), loop=loop or LoopSnapshot(None, 0.0, False),
        nodes=tuple(nodes), edges=tuple(edges), events=EventsSnapshot(0, 0), **given,
    )  # fmt: skip


def profile_of(*shots, end="complete", whole=False, most_points=240):
    recorder = Recorder(whole=whole, most_points=most_points)
    for shot in shots:
        recorder.add(shot, 0.01)
    return recorder.profile(wanted_s=4.0, hz=1.0, end=end, measured="cpu")


def test_a_node_is_told_by_what_changed_between_the_first_look_and_the_last():
    error = ErrorReport("parse", "on_message", "ValueError", "app.py:3 (parse)", "[redacted]")
    made = profile_of(
        a_shot(1.0, [a_node("parse", handled=100, busy_s=0.5, blocked_s=0.25, errors=2)]),
        a_shot(2.0, [a_node("parse", handled=150, busy_s=1.0, blocked_s=0.5, doing="running", errors=2)]),
        a_shot(
            5.0,
            [
                a_node(
                    "parse",
                    handled=300,
                    busy_s=1.5,
                    blocked_s=2.25,
                    errors=5,
                    last_error=error,
                    doing="running",
                )
            ],
            errors_total=3,
        ),
    )
    node = made.node("parse")
    assert (made.window_s, made.looks.n, made.errors, made.partial) == (4.0, 3, 3, False)
    assert (node.handled, node.handled_per_s, node.errors, node.per_message_s) == (200, 50.0, 3, 0.005)
    assert (node.shares.busy, node.shares.blocked, node.shares.idle) == (0.25, 0.5, 0.25)
    assert (node.doing, node.last_error) == ({"running": 2, "idle": 1}, error)
    assert (made.looks.total_s, made.looks.share) == (pytest.approx(0.03), pytest.approx(0.0075))


def test_a_whole_profile_begins_with_the_run():
    shots = [
        a_shot(
            4.0,
            [a_node("read", produced=8, busy_s=1.0), a_node("out")],
            [an_edge("read", "out", accepted=8, lost={"dropped": 2})],
        )
    ]
    assert profile_of(*shots).node("read").produced == 0
    made = profile_of(*shots, whole=True)
    assert (made.window_s, made.points_s) == (4.0, (4.0,))
    assert (made.node("read").produced_per_s, made.node("read").per_message_s) == (2.0, 0.125)
    assert (made.edge("read->out").accepted, made.edge("read->out").lost) == (8, {"dropped": 2})


def test_an_edge_is_told_by_its_depth_over_time_and_what_was_lost_meanwhile():
    hop = Percentiles(0.1, 0.2, 0.3, 0.4, 10)
    looks = [
        (0, {"dropped": 5, "expired": 1}, {"wait_age_s": 2.0}),
        (10, {"dropped": 6, "expired": 1}, {"wait_age_s": 0.5, "head_age_s": 3.0}),
        (10, {"dropped": 7, "expired": 1}, {"stalled_s": 1.5}),
        (5, {"dropped": 8, "expired": 1}, {"stalled_s": 0.0, "hop_s": hop, "delivered": 40, "waits": 3}),
    ]
    made = profile_of(
        *(
            a_shot(i, [a_node("a"), a_node("b")], [an_edge("a", "b", depth=depth, lost=lost, **more)])
            for i, (depth, lost, more) in enumerate(looks)
        )
    ).edge("a->b")
    assert made.depths == (0, 10, 10, 5)
    assert (made.depth_least, made.depth_median, made.depth_most) == (0, 5, 10)
    assert (made.fill, made.full) == (0.625, 0.5)
    assert (made.lost, made.hop_s, made.waits) == ({"dropped": 3}, hop, 3)
    assert (made.wait_age_s, made.head_age_s, made.stalled_s) == (2.0, 3.0, 1.5)
    assert made.delivered_per_s == pytest.approx(40 / 3)


@pytest.mark.req("X1")
def test_what_a_recorder_keeps_is_bounded_and_extremes_are_still_known():
    recorder = Recorder(most_points=10)
    lag = LoopSnapshot(0.001, 0.0, False)
    for i in range(10_000):
        depth = 9 if i == 4_321 else 1
        late = replace(lag, lag_s=0.5) if i == 4_321 else lag
        recorder.add(
            a_shot(float(i), [a_node("a"), a_node("b")], [an_edge("a", "b", depth=depth)], late), 0.0
        )
    made = recorder.profile(wanted_s=10_000, hz=1, end="complete", measured="cpu")
    points = made.points_s
    assert 5 <= len(points) <= 10
    assert len(made.edge("a->b").depths) == len(points)
    assert len({later - earlier for earlier, later in itertools.pairwise(points)}) == 1
    assert (made.edge("a->b").depth_most, made.edge("a->b").depth_least) == (9, 1)
    assert made.loop.lag_s == Percentiles(0.001, 0.001, 0.001, 0.5, 10_000)


def waiting(**waits):
    """A look at nodes of which some wait: name=the node in front of it."""
    names = sorted({*"abc", *waits, *waits.values()})
    return a_shot(
        1.0,
        [
            a_node(name, waits_for=f"{name}->{waits[name]}", doing="blocked", wait_age_s=2.0)
            if name in waits
            else a_node(name, doing="working")
            for name in names
        ],
        [an_edge(name, target) for name in names for target in names],
    )


def test_a_chain_leads_from_the_first_that_waits_to_the_one_that_holds_all_up():
    (chain,) = profile_of(waiting(a="b", b="c"), waiting(a="b", b="c")).chains
    assert (chain.nodes, chain.edges) == (("a", "b", "c"), ("a->b", "b->c"))
    assert (chain.culprit, chain.doing, chain.circle, chain.looks) == ("c", "working", False, 2)
    assert chain.wait_age_s == 2.0


def test_two_that_wait_for_one_are_two_chains_and_what_was_seen_more_often_comes_first():
    chains = profile_of(waiting(a="c", b="c"), waiting(b="c")).chains
    assert [(chain.nodes, chain.looks) for chain in chains] == [(("b", "c"), 2), (("a", "c"), 1)]


@pytest.mark.parametrize(
    ("waits", "nodes"),
    [
        ({"a": "b", "b": "a"}, [("a", "b", "a")]),
        ({"a": "a"}, [("a", "a")]),
        ({"a": "b", "b": "c", "c": "b"}, [("a", "b", "c", "b")]),
        ({"a": "b", "b": "a", "x": "y"}, [("x", "y"), ("a", "b", "a")]),
    ],
)
def test_a_circle_of_nodes_that_wait_for_each_other_is_told_once(waits, nodes):
    chains = profile_of(waiting(**waits)).chains
    assert [chain.nodes for chain in chains] == nodes
    assert chains[-1].circle


def test_a_stuck_loop_is_told_with_the_node_and_the_calls():
    stack = (Frame("main", "app.py", 1), Frame("endless", "app.py", 9))
    made = profile_of(
        a_shot(1.0, [a_node("culprit")], loop=LoopSnapshot(0.002, 0.0, False)),
        a_shot(2.0, [a_node("culprit")], loop=LoopSnapshot(0.002, 0.9, True, "culprit", stack)),
    )
    assert (made.loop.stuck, made.loop.node, made.loop.stack, made.loop.silent_s) == (
        1,
        "culprit",
        stack,
        0.9,
    )


def test_one_look_makes_a_profile_without_rates_and_none_makes_no_profile():
    made = profile_of(a_shot(3.0, [a_node("a")], [an_edge("a", "a")]), end="no answer")
    assert (made.window_s, made.partial, made.looks.share) == (0.0, True, None)
    assert (made.nodes[0].shares, made.nodes[0].handled_per_s, made.edges[0].delivered_per_s) == (
        None,
        None,
        None,
    )
    assert json.loads(json.dumps(made.as_dict(), allow_nan=False)) == made.as_dict()
    with pytest.raises(NothingRunsError):
        profile_of()
    with pytest.raises(KeyError):
        made.node("b")
    with pytest.raises(KeyError):
        made.edge("b")


def test_counts_of_two_looks_that_lie_a_slice_apart_make_no_negative_time():
    made = profile_of(
        a_shot(1.0, [a_node("a", busy_s=1.0, blocked_s=1.0)], [an_edge("a", "a", blocked_s=1.0)]),
        a_shot(2.0, [a_node("a", busy_s=0.9, blocked_s=0.9)], [an_edge("a", "a", blocked_s=0.9)]),
    )
    assert (made.nodes[0].busy_s, made.nodes[0].blocked_s, made.edges[0].blocked_s) == (0.0, 0.0, 0.0)
    assert made.nodes[0].shares.idle == 1.0


@pytest.mark.usefixtures("engine")
@pytest.mark.req("X2")
def test_a_profile_of_a_run_fits_the_published_schema_and_holds_no_payload():
    def fail(text):
        raise ValueError(text)

    scheduler = Scheduler(SchedulerConfig())
    feed = source([CANARY] * 100, name="read")
    scheduler.register(
        graph(
            "g",
            feed >> via(capacity=4, policy=drop()) >> sink(lambda _: None, name="a@example.org"),
            feed >> sink(fail, name="fail"),
        )
    )
    watch, recorder = Watch(scheduler), Recorder(whole=True)
    scheduler.run()
    recorder.add(watch.look(), 0.0)
    made = recorder.profile(wanted_s=1.0, hz=1.0, end="run ended", measured="cpu")
    assert (made.node("fail").errors, made.errors, made.node("read").produced) == (100, 100, 100)
    edge = made.edge("read:output->a@example.org:input")
    assert edge.delivered + sum(edge.lost.values()) == 100
    data = made.as_dict()
    jsonschema.Draft202012Validator(profile_schema()).validate(data)
    text = json.dumps(data)
    assert CANARY not in text
    assert "example.org" not in text
    assert all(
        said["description"]
        for each in (profile_schema(), *profile_schema()["$defs"].values())
        for said in each["properties"].values()
    )


# ---- processes that tell nonsense ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shot",
    [
        a_shot(2.0, [a_node("a", waits_for="b->a"), a_node("b")], [an_edge("a", "b")]),
        a_shot(2.0, [a_node("a"), a_node("b")], [replace(an_edge("a", "b"), target="c")]),
        a_shot(2.0, [a_node("a"), a_node("b")], [an_edge("a", "b", band="URGENT")]),
        a_shot(2.0, [a_node("a"), a_node("b")], [an_edge("a", "b", depth=2**63)]),
        a_shot(2.0, [a_node("a")], []),
        a_shot(2.0, [a_node("a"), a_node("c")], [an_edge("a", "b")]),
        a_shot(2.0, [a_node("a"), a_node("b")], [an_edge("b", "a")]),
        replace(a_shot(2.0, [a_node("a"), a_node("b")], [an_edge("a", "b")]), run="7-2"),
    ],
)
def test_a_look_that_cannot_be_of_the_graph_is_refused_and_what_was_seen_before_stays(shot):
    recorder = Recorder()
    recorder.add(a_shot(1.0, [a_node("a"), a_node("b")], [an_edge("a", "b")]), 0.1)
    with pytest.raises(BadAnswerError, match="process 7 tells of"):
        recorder.add(shot, 0.1)
    assert recorder.n == 1
    assert recorder.profile(wanted_s=1, hz=1, end="no answer", measured="answer").looks.total_s == 0.1


def test_next_to_no_time_gives_no_rate_rather_than_one_without_end():
    nodes = [a_node("a")], [a_node("a", handled=10**30)]
    made = profile_of(a_shot(0.0, nodes[0]), a_shot(1e-300, nodes[1]))
    assert (made.window_s, made.nodes[0].handled_per_s) == (0.0, None)
    json.dumps(made.as_dict(), allow_nan=False)
