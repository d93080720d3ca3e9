"""What a snapshot says is so, and what nobody measured it calls None."""

import asyncio
import json
import threading
from dataclasses import fields
from itertools import count

import jsonschema
import pytest

from meridian import (
    Message,
    MessageType,
    Node,
    Port,
    PortDirection,
    Scheduler,
    SchedulerConfig,
    Subgraph,
    drop,
    graph,
    latest,
    node,
    sink,
    source,
    via,
)
from meridian._tests.introspect.beside import run_beside
from meridian.core.function import Inlet
from meridian.core.runtime_plan import PriorityBand
from meridian.introspect import NothingRunsError, Snapshot, Watch, find, snapshot
from meridian.introspect.profile import chains
from meridian.introspect.schema import snapshot_schema
from meridian.runtime.report import EdgeReport, NodeReport
from meridian.testing.clock import VirtualClock

pytestmark = pytest.mark.usefixtures("engine")

CANARY = "canary-3f9d27c1"


def clock():
    return asyncio.get_running_loop().clock


@pytest.mark.req("N7", "V14")
def test_an_edge_adds_up_and_says_where_it_leads():
    @node
    def double(n: int) -> int:
        return 2 * n

    seen = []
    scheduler = Scheduler()
    scheduler.register(
        graph("g", source(range(10), name="numbers") >> double >> sink(seen.append, name="out"))
    )
    scheduler.run()
    shot = snapshot(scheduler)
    edge = shot.edge("numbers:output->double:input")
    assert (edge.source, edge.source_port, edge.target, edge.target_port) == (
        "numbers",
        "output",
        "double",
        "input",
    )
    assert (edge.accepted, edge.delivered, edge.depth, edge.merged, edge.lost) == (10, 10, 0, 0, {})
    assert (edge.band, edge.policy, edge.capacity) == ("NORMAL", "block", 1024)
    assert [each.name for each in shot.nodes] == ["numbers", "double", "out"]
    assert [each.type for each in shot.nodes] == ["source", "function", "function"]
    assert (shot.status, shot.reason) == ("stopped", "finished")


@pytest.mark.req("N7")
def test_a_snapshot_says_everything_the_report_says():
    scheduler = Scheduler()
    scheduler.register(graph("g", source([1, 2], name="s") >> sink(lambda n: 1 // (n - 1), name="out")))
    scheduler.run()
    shot, report = snapshot(scheduler), scheduler.report()
    assert (shot.status, shot.reason, shot.elapsed_s) == (report.status, report.reason, report.elapsed_s)
    assert (shot.engine.name, shot.engine.reason) == (report.engine, report.engine_reason)
    assert (list(shot.errors), shot.errors_total) == (report.errors, report.errors_total)
    for cls, seen, told in ((NodeReport, shot.nodes, report.nodes), (EdgeReport, shot.edges, report.edges)):
        for one, other in zip(seen, told, strict=True):
            names = [field.name for field in fields(cls)]
            assert [getattr(one, name) for name in names] == [getattr(other, name) for name in names]


@pytest.mark.req("N7")
def test_without_a_run_there_is_nothing_to_look_at():
    with pytest.raises(NothingRunsError, match="not run yet"):
        snapshot(Scheduler())
    with pytest.raises(NothingRunsError, match="no schedulers run"):
        snapshot()


@pytest.mark.req("N7")
def test_the_only_scheduler_that_runs_needs_no_naming():
    inlet = Inlet("in")
    scheduler = Scheduler()
    scheduler.register(graph("g", inlet >> sink(lambda _: None, name="out")))

    async def beside():
        await asyncio.sleep(0)
        return snapshot()

    shot = run_beside(scheduler, beside)
    assert shot.status == "running"
    assert [each.doing for each in shot.nodes] == ["idle", "idle"]
    with pytest.raises(NothingRunsError):
        snapshot()


@pytest.mark.req("N6", "N7")
def test_a_full_edge_before_a_dead_consumer_names_both_and_the_age_of_the_wait():
    never = asyncio.Event()

    async def hang(item: int) -> None:
        await never.wait()

    @node
    def pass_on(item: int) -> int:
        return item

    chain = (
        source(iter(range(100)), name="numbers")
        >> via(capacity=2)
        >> pass_on
        >> via(capacity=2)
        >> sink(hang, name="dead")
    )
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0))
    scheduler.register(graph("g", chain))
    watch = Watch(scheduler)

    async def beside():
        await asyncio.sleep(1)
        first = watch.look()
        await asyncio.sleep(2)
        return first, watch.look()

    first, second = run_beside(scheduler, beside)
    edge = second.edge("pass_on:output->dead:input")
    assert edge.depth == edge.capacity == 2
    assert edge.waiting == 1
    assert edge.wait_age_s == pytest.approx(3.0, abs=0.01)
    assert edge.blocked_s == pytest.approx(3.0, abs=0.01)
    assert (first.edge(edge.id).stalled_s, edge.stalled_s) == (None, 2.0)
    assert (edge.accepted_per_s, edge.delivered_per_s) == (0.0, 0.0)
    middle = second.node("pass_on")
    assert (middle.doing, middle.waits_for) == ("blocked", edge.id)
    assert middle.wait_age_s == edge.wait_age_s
    assert middle.recent.blocked == pytest.approx(1.0)
    dead = second.node("dead")
    assert (dead.doing, dead.in_flight) == ("working", 1)
    assert dead.recent.idle == pytest.approx(1.0)


@pytest.mark.req("N6", "N7")
@pytest.mark.parametrize("capacity", [8, 1024])
def test_a_node_that_is_held_by_a_full_output_is_blocked_though_it_had_no_turn_to_notice(capacity):
    shots = []

    def crunch(item: int) -> None:
        clock().advance(0.01)
        if item == 10 * capacity:
            shots.append(snapshot(scheduler))
            scheduler.shutdown()

    @node
    def parse(item: int) -> int:
        return item

    @node
    def enrich(item: int) -> int:
        return item

    chain = (
        source(count(), name="read")
        >> via(capacity=capacity)
        >> parse
        >> via(capacity=capacity)
        >> enrich
        >> via(capacity=capacity)
        >> sink(crunch, name="crunch")
    )
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0))
    scheduler.register(graph("g", chain, enrich >> sink(lambda _: None, name="log")))

    async def beside():
        while not shots:
            await asyncio.sleep(0.1)

    run_beside(scheduler, beside)
    (shot,) = shots
    edges = {each.source: each for each in shot.edges if each.target != "log"}
    assert capacity - 1 <= edges["parse"].depth <= capacity, "the free place wanders with the turns"
    assert edges["enrich"].depth == capacity - 1, "the last one is in hand"
    assert (edges["parse"].waiting, edges["enrich"].waiting) == (0, 0)
    held = {name: (shot.node(name).doing, shot.node(name).waits_for) for name in ("parse", "enrich")}
    assert held == {"parse": ("blocked", edges["parse"].id), "enrich": ("blocked", edges["enrich"].id)}
    assert (shot.node("crunch").doing, shot.node("crunch").waits_for) == ("running", None)
    (chain,) = chains(shot)
    assert (chain.culprit, chain.doing) == ("crunch", "running")
    assert [each.waits_for for each in scheduler.report().nodes[1:]] == [None] * 4, (
        "an ended run waits for nothing"
    )


@pytest.mark.req("N6", "N7")
@pytest.mark.parametrize(
    ("edge", "doing"),
    [
        (via(capacity=2), "blocked"),
        (via(max_bytes=4), "blocked"),
        (via(capacity=2, policy=latest()), "ready"),
        (via(capacity=3), "ready"),
    ],
    ids=["items", "bytes", "loses what is too much", "has room"],
)
def test_a_node_with_work_is_blocked_only_where_no_room_is_left_and_nothing_may_be_lost(edge, doing):
    @node
    def parse(item: bytes) -> bytes:
        return item

    async def hang(item: bytes) -> None:
        await asyncio.Event().wait()

    inlet = Inlet("in")
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0))
    scheduler.register(graph("g", inlet >> parse >> edge >> sink(hang, name="dead")))

    async def beside():
        for _ in range(3):
            await inlet.put(b"ab")
        await asyncio.sleep(1)
        assert inlet.try_put(b"ab"), "its turn comes after this look"
        return snapshot(scheduler)

    shot = run_beside(scheduler, beside)
    onward = shot.edge("parse:output->dead:input")
    assert (onward.depth, onward.waiting) == (2, 0)
    held = doing == "blocked"
    assert (shot.node("parse").doing, shot.node("parse").waits_for) == (doing, onward.id if held else None)
    assert find(shot) == ()


@pytest.mark.req("N6", "N7")
def test_rates_and_recent_shares_come_from_two_looks_of_the_same_watch():
    inlet = Inlet("in")

    def slow(item: int) -> None:
        clock().advance(0.25)

    scheduler = Scheduler()
    scheduler.register(graph("g", inlet >> sink(slow, name="slow")))
    watch, other = Watch(scheduler), Watch(scheduler)

    async def beside():
        await asyncio.sleep(1)
        first = watch.look()
        for n in range(2):
            await inlet.put(n)
        await asyncio.sleep(4)
        return first, watch.look(), other.look()

    first, second, fresh = run_beside(scheduler, beside)
    assert (first.window_s, first.nodes[0].recent, first.edges[0].accepted_per_s) == (None, None, None)
    assert second.window_s == pytest.approx(4.0)
    assert second.edges[0].accepted_per_s == second.edges[0].delivered_per_s == pytest.approx(0.5)
    assert second.node("slow").handled_per_s == second.node("in").produced_per_s == pytest.approx(0.5)
    assert second.node("slow").recent.busy == pytest.approx(0.125)
    assert second.node("slow").shares.busy == pytest.approx(0.1)
    assert second.node("slow").recent.idle == pytest.approx(0.875)
    assert (fresh.window_s, fresh.edges[0].accepted_per_s) == (None, None), "readers don't disturb each other"


@pytest.mark.req("N6", "V14")
def test_losses_are_told_by_cause_and_as_a_rate():
    inlet = Inlet("in")
    got = asyncio.Event()

    async def first_only(item: int) -> None:
        await got.wait()

    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0))
    scheduler.register(graph("g", inlet >> via(capacity=1, policy=drop()) >> sink(first_only, name="out")))
    watch = Watch(scheduler)

    async def beside():
        await inlet.put(0)
        await asyncio.sleep(1)
        watch.look()
        for n in range(5):
            await inlet.put(n)
        await asyncio.sleep(1)
        return watch.look().edges[0]

    edge = run_beside(scheduler, beside)
    assert edge.lost == {"dropped": 4}
    assert edge.lost_per_s == pytest.approx(4.0)
    assert edge.accepted == edge.delivered + edge.depth + edge.merged + sum(edge.lost.values())


@pytest.mark.req("N6", "V14")
def test_bytes_and_the_age_of_the_head_are_told_where_somebody_counts_them_and_are_none_elsewhere():
    never = asyncio.Event()

    async def hang(item: bytes) -> None:
        await never.wait()

    limited, plain = Inlet("limited"), Inlet("plain")
    made = Subgraph("g")
    for each in (limited, plain):
        made.add_node(each)
    for name in ("a", "b"):
        made.add_node(graph("x", source([]) >> sink(hang, name=name)).nodes[name])
    counted = made.connect(("limited", "output"), ("a", "input"), max_bytes=100, max_age_s=60)
    uncounted = made.connect(("plain", "output"), ("b", "input"))
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0))
    scheduler.register(made)

    async def beside():
        for each in (limited, plain):
            for _ in range(3):
                await each.put(b"12345")
            await asyncio.sleep(0)
        await asyncio.sleep(2)
        return snapshot(scheduler)

    shot = run_beside(scheduler, beside)
    edge = shot.edge(counted)
    assert (edge.bytes, edge.max_bytes, edge.max_age_s) == (5 * edge.depth, 100, 60)
    assert edge.depth
    assert edge.head_age_s == pytest.approx(2.0, abs=0.01)
    other = shot.edge(uncounted)
    assert other.depth == edge.depth
    assert (other.bytes, other.head_age_s, other.hop_s) == (None, None, None)


@pytest.mark.req("N6", "V14", "X1")
def test_from_the_first_look_on_the_times_of_hops_and_the_age_of_the_head_are_told_for_every_edge():
    async def slow(item: int) -> None:
        await asyncio.sleep(1)

    inlet = Inlet("in")
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0))
    scheduler.register(graph("g", inlet >> sink(slow, name="out")))
    watch = Watch(scheduler)

    async def beside():
        await inlet.put(0)  # nobody has looked yet
        await asyncio.sleep(0.25)
        shots = [watch.look()]
        for item in (1, 2, 3):  # each waits a second longer
            await inlet.put(item)
        for _ in range(4):
            await asyncio.sleep(1)
            shots.append(watch.look())
        return shots

    edges = [shot.edges[0] for shot in run_beside(scheduler, beside)]
    assert [(edge.depth, edge.head_age_s) for edge in edges] == [
        (0, None), (2, 1.0), (1, 2.0), (0, None), (0, None)
    ]  # fmt: skip
    assert [edge.hop_s and edge.hop_s.n for edge in edges] == [None, 1, 2, 3, 3]
    hop = edges[-1].hop_s
    assert (hop.p50, hop.p90, hop.most) == (
        pytest.approx(1.75, rel=1 / 32), pytest.approx(2.75, rel=1 / 32), pytest.approx(2.75)
    )  # fmt: skip
    ended = watch.look().edges[0]
    assert (ended.head_age_s, ended.hop_s) == (None, hop)
    assert (
        snapshot(scheduler).edges[0].hop_s == hop
    )  # nor has it for somebody who looks now for the first time


@pytest.mark.req("N6")
def test_bands_and_the_scheduler_are_told():
    never = asyncio.Event()

    async def hang(item: int) -> None:
        await never.wait()

    inlet = Inlet("in")
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0, fairness_ratio=(5, 3, 2)))
    scheduler.register(graph("g", inlet >> sink(hang, name="out")))
    scheduler.set_priority("in:output->out:input", PriorityBand.HIGH)

    async def beside():
        await inlet.put(1)
        await asyncio.sleep(0.1)
        one = snapshot(scheduler)
        scheduler.set_priority("in:output->out:input", PriorityBand.CONTROL)
        return one, snapshot(scheduler)

    one, two = run_beside(scheduler, beside)
    assert (one.edges[0].band, two.edges[0].band) == ("HIGH", "CONTROL")
    assert [(each.name, each.weight) for each in one.scheduler.bands] == [
        ("CONTROL", 5),
        ("HIGH", 3),
        ("NORMAL", 2),
    ]
    assert (one.scheduler.in_flight, one.scheduler.open_sources, one.scheduler.stopping) == (1, 1, False)
    assert one.scheduler.slices >= 1
    assert one.cpu.visible >= 1


@pytest.mark.req("N7")
def test_a_node_that_failed_says_how_last_and_a_storm_of_others_does_not_hide_it():
    class Broken(Node):
        def on_start(self):
            raise RuntimeError(CANARY)

    def storm(n: int) -> None:
        raise ValueError(CANARY)

    made = graph("g", source(range(200), name="s") >> sink(storm, name="storm"))
    made.add_node(Broken("broken", [Port("in", PortDirection.INPUT)]))
    scheduler = Scheduler()
    scheduler.register(made)
    scheduler.run()
    shot = snapshot(scheduler)
    assert shot.errors_total == 201
    assert "broken" not in {each.node for each in shot.errors}
    assert shot.node("broken").last_error.type == "RuntimeError"
    assert shot.node("broken").state == "failed"
    assert (shot.node("storm").last_error.type, shot.node("storm").errors) == ("ValueError", 200)
    assert shot.node("s").last_error is None


@pytest.mark.req("X2", "N7")
def test_no_payload_is_in_a_snapshot():
    def storm(text: str) -> None:
        raise ValueError(text, {CANARY: text})

    never = asyncio.Event()

    async def hang(text: str) -> None:
        await never.wait()

    inlet = Inlet("in")
    made = graph("g", inlet >> sink(hang, name="hang"))
    made.add_node(graph("x", source([]) >> sink(storm, name="storm")).nodes["storm"])
    made.connect(("in", "output"), ("storm", "input"), max_bytes=10_000)
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0))
    scheduler.register(made)

    async def beside():
        for _ in range(5):
            await inlet.put(CANARY)
            await inlet.put(Message(MessageType.DATA, CANARY, {"secret": CANARY}))
        await asyncio.sleep(1)
        return snapshot(scheduler)

    shot = run_beside(scheduler, beside)
    assert shot.errors_total
    assert sum(edge.depth for edge in shot.edges)
    assert CANARY not in shot.as_json()
    assert CANARY not in repr(shot)


@pytest.mark.req("N7")
def test_a_snapshot_survives_json_and_is_as_its_schema_says():
    scheduler = Scheduler()
    scheduler.register(
        graph(
            "g",
            source([1, 2], name="s")
            >> via(capacity=2, policy=latest())
            >> sink(lambda n: 1 // (n - 1), name="out"),
        )
    )
    watch = Watch(scheduler)
    shots = []

    async def beside():
        await asyncio.sleep(0)
        for _ in range(3):
            shots.append(watch.look())
            await asyncio.sleep(0.5)

    run_beside(scheduler, beside)
    shots.append(watch.look())
    validator = jsonschema.Draft202012Validator(snapshot_schema())
    for shot in shots:
        data = json.loads(shot.as_json())
        assert list(validator.iter_errors(data)) == []
        assert Snapshot.from_dict(data) == shot
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**shots[0].as_dict(), "nodes": None})


def test_the_schema_says_something_about_every_key():
    schema = snapshot_schema()
    for each in (schema, *schema["$defs"].values()):
        assert all(said["description"] for said in each["properties"].values())


@pytest.mark.req("N7")
def test_a_snapshot_of_a_newer_minor_version_is_read_and_of_another_major_refused():
    scheduler = Scheduler()
    scheduler.register(graph("g", source([1]) >> sink(lambda _: None, name="out")))
    scheduler.run()
    data = snapshot(scheduler).as_dict()
    newer = {
        **data,
        "schema_version": "1.9",
        "new": 1,
        "nodes": [{**each, "new": 1} for each in data["nodes"]],
    }
    assert Snapshot.from_dict(newer).nodes == snapshot(scheduler).nodes
    with pytest.raises(ValueError, match=r"schema 2\.0 can't be read"):
        Snapshot.from_dict({**data, "schema_version": "2.0"})


@pytest.mark.req("N7")
@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("nodes",), {}),
        (("nodes", 0), "name"),
        (("nodes", 0, "name"), 7),
        (("nodes", 0, "handled"), "7"),
        (("nodes", 0, "handled"), True),
        (("nodes", 0, "handled"), 1.5),
        (("nodes", 0, "handled"), 10**31),
        (("nodes", 0, "busy_s"), None),
        (("nodes", 0, "busy_s"), float("nan")),
        (("nodes", 0, "wait_age_s"), float("inf")),
        (("nodes", 0, "shares"), [1, 0, 0]),
        (("edges", 0, "lost"), [1]),
        (("edges", 0, "lost"), {"dropped": "1"}),
        (("loop", "stuck"), 1),
        (("engine",), None),
    ],
)
def test_what_is_of_another_type_or_no_number_is_no_snapshot(where, value):
    scheduler = Scheduler()
    scheduler.register(graph("g", source([1]) >> sink(lambda _: None, name="out")))
    scheduler.run()
    data = json.loads(snapshot(scheduler).as_json())
    assert Snapshot.from_dict(data)
    *above, last = where
    inner = data
    for key in above:
        inner = inner[key]
    inner[last] = value
    with pytest.raises((TypeError, ValueError)):
        Snapshot.from_dict(data)


@pytest.mark.req("N6")
def test_the_lag_of_the_loop_is_measured_by_looking_at_it():
    inlet = Inlet("in")

    def slow(item: int) -> None:
        clock().advance(0.2)

    scheduler = Scheduler()
    scheduler.register(graph("g", inlet >> sink(slow, name="slow")))

    async def beside():
        await asyncio.sleep(1)
        first = snapshot(scheduler)
        await asyncio.sleep(1)
        second = snapshot(scheduler)
        return first.loop, second.loop

    first, second = run_beside(scheduler, beside)
    assert (first.lag_s, first.stuck) == (None, False)
    assert (second.lag_s, second.silent_s, second.stuck) == (0.0, 0.0, False)


def stuck_look(work, scheduler, clock_):
    """Look from this thread while the run stands still in its own; return the snapshot."""
    inside, go_on = threading.Event(), threading.Event()
    work.append((inside, go_on))
    thread = threading.Thread(target=scheduler.run)
    thread.start()
    try:
        assert inside.wait(30)
        snapshot(scheduler)
        clock_.advance(3)
        return snapshot(scheduler)
    finally:
        go_on.set()
        thread.join(30)


@pytest.mark.req("N6", "N7")
@pytest.mark.parametrize("kind", ["function", "class", "source", "coroutine", "pool", "one of two", "stream"])
def test_a_stuck_loop_is_told_from_another_thread_with_the_node_and_the_stack(kind):
    work = []

    def endless(text: str) -> None:
        inside, go_on = work[0]
        inside.set()
        go_on.wait(30)

    class Stuck(Node):
        def _handle_message(self, port, msg):
            endless(msg.payload)

    def numbers():
        endless(CANARY)
        yield 1

    async def after_a_while(text: str) -> None:
        await asyncio.sleep(0)
        endless(text)

    async def streaming(text: str):
        await after_a_while(text)
        yield 1

    made = Subgraph("g")
    made.add_node(
        source(numbers if kind == "source" else [CANARY], name="culprit" if kind == "source" else "s")
    )
    others = {
        "function": sink(endless, name="culprit"),
        "coroutine": sink(after_a_while, name="culprit"),
        "pool": node(name="culprit", concurrency=2)(after_a_while),
        "one of two": sink(after_a_while, name="culprit"),
        "stream": node(name="culprit")(streaming),
    }
    if kind == "class":
        made.add_node(Stuck("culprit", [Port("input", PortDirection.INPUT)]))
        made.connect(("s", "output"), ("culprit", "input"))
    elif kind == "source":
        made = graph("g", made.nodes["culprit"] >> sink(lambda _: None, name="t"))
    else:
        made = graph("g", made.nodes["s"] >> others[kind])
    if kind == "one of two":
        made.add_node(sink(after_a_while, name="twin"))
    time = VirtualClock()
    scheduler = Scheduler(clock=time)
    scheduler.register(made)
    shot = stuck_look(work, scheduler, time)
    assert shot.loop.stuck
    assert shot.loop.silent_s == pytest.approx(3.0)
    assert shot.loop.node == "culprit"
    functions = [frame.function for frame in shot.loop.stack]
    assert any(name.endswith("endless") for name in functions)
    assert functions.index("Scheduler.run") < len(functions) - 2
    (run,) = (frame for frame in shot.loop.stack if frame.function == "Scheduler.run")
    assert (run.own, [frame.own for frame in shot.loop.stack if "endless" in frame.function]) == (
        True,
        [False],
    )
    assert shot.node("culprit").doing == "running"
    assert shot.node("culprit").busy_s >= 3.0 - 1e-9
    assert CANARY not in shot.as_json()
    assert "/" not in "".join(frame.file for frame in shot.loop.stack)


@pytest.mark.req("N6")
def test_a_call_has_not_taken_the_time_of_calls_before_it_in_the_same_pass_of_the_loop():
    time = VirtualClock()
    gates = {n: (threading.Event(), threading.Event()) for n in (0, 2)}

    @node(name="pool", concurrency=3)
    async def computes(n: int) -> None:
        await asyncio.sleep(0)
        if n in gates:
            inside, go_on = gates[n]
            inside.set()
            go_on.wait(60)
        else:
            time.advance(3)

    scheduler = Scheduler(clock=time)
    scheduler.register(graph("g", source(range(3), name="s") >> computes))
    thread = threading.Thread(target=scheduler.run)
    thread.start()
    shots = []
    for inside, go_on in gates.values():
        assert inside.wait(60)
        shots.append(snapshot(scheduler))
        go_on.set()
    thread.join(60)
    seen = [(shot.loop.node, shot.loop.silent_s, shot.loop.stuck, shot.node("pool").busy_s) for shot in shots]
    assert seen == [("pool", 0.0, False, 0.0), ("pool", 0.0, False, 3.0)]


@pytest.mark.req("V14", "N7")
def test_looks_from_another_thread_add_up_while_the_run_goes_on():
    stop = threading.Event()

    def numbers():
        n = 0
        while not stop.is_set():
            yield n
            n += 1

    @node
    def double(n: int) -> int:
        return 2 * n

    scheduler = Scheduler()
    chain = (
        source(numbers, name="s")
        >> via(capacity=64, policy=drop())
        >> double
        >> via(capacity=16, policy=latest())
        >> sink(lambda _: None, name="t")
    )
    scheduler.register(graph("g", chain))
    thread = threading.Thread(target=scheduler.run)
    thread.start()
    watch = Watch(scheduler)
    looks = []
    while len(looks) < 200:
        try:
            looks.append(watch.look())
        except NothingRunsError:  # not yet
            continue
    stop.set()
    thread.join(30)
    looks.append(watch.look())
    for shot in looks:
        for edge in shot.edges:
            assert edge.accepted == edge.delivered + edge.depth + edge.merged + sum(edge.lost.values())
            assert edge.depth <= edge.capacity
        for each in shot.nodes:
            if each.recent is not None:
                assert sum((each.recent.busy, each.recent.blocked, each.recent.idle)) == pytest.approx(1.0)
    delivered = [shot.edges[0].delivered for shot in looks]
    assert delivered == sorted(delivered)
    assert looks[-1].status == "stopped"
    assert looks[-1].edges[0].delivered == scheduler.report().edges[0].delivered


@pytest.mark.req("N7")
def test_a_run_that_never_is_looked_at_measures_nothing_for_it():
    runs = []
    scheduler = Scheduler()

    def note(_: int) -> None:
        runs.append(scheduler._run)

    scheduler.register(graph("g", source([1]) >> sink(note, name="out")))
    scheduler.run()
    assert runs[0].probe is None


@pytest.mark.req("N7")
def test_an_ended_run_keeps_no_engine_alive():
    scheduler = Scheduler()
    scheduler.register(graph("g", source([1]) >> sink(lambda _: None, name="out")))
    scheduler.run()
    assert scheduler.facts().live is None
    assert snapshot(scheduler).run.partition("-")[0] == str(snapshot(scheduler).pid)


@pytest.mark.req("N7")
def test_a_watch_begins_anew_with_the_next_run():
    scheduler = Scheduler()
    scheduler.register(graph("g", source([1]) >> sink(lambda _: None, name="out")))
    watch = Watch(scheduler)
    scheduler.run()
    one = watch.look()
    scheduler.run()
    two = watch.look()
    assert one.run != two.run
    assert two.window_s is None
