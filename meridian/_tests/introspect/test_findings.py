"""A finding names the culprit, not those who wait for it; and a busy run that does well has none."""

import asyncio
import json
from dataclasses import replace
from itertools import count

import pytest

from meridian import (
    Node,
    Port,
    PortDirection,
    Scheduler,
    SchedulerConfig,
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
from meridian.introspect import (
    RULES,
    BadAnswerError,
    Finding,
    Frame,
    LoopSnapshot,
    NoAnswerError,
    NoSocketError,
    NoSuchProcessError,
    NotPermittedError,
    OtherVersionError,
    Shares,
    Snapshot,
    Watch,
    find,
    find_unreachable,
    snapshot,
)
from meridian.introspect import findings as findings_module

pytestmark = [pytest.mark.usefixtures("engine"), pytest.mark.req("N6", "N1")]

NOW = SchedulerConfig(shutdown_timeout_s=0)
PACE_S = 0.001


def two_looks(made, *, after_s=2.0, apart_s=2.0, config=NOW, bands=()):
    """Run a graph on a virtual loop, and look twice."""
    scheduler = Scheduler(config)
    scheduler.register(made)
    for edge, band in bands:
        scheduler.set_priority(edge, band)
    watch = Watch(scheduler)

    async def beside():
        await asyncio.sleep(after_s)
        before = watch.look()
        await asyncio.sleep(apart_s)
        return before, watch.look()

    return run_beside(scheduler, beside)


def clock():
    return asyncio.get_running_loop().clock


def ids(found):
    return [(each.rule, each.node, each.edge) for each in found]


async def hang(item):
    await asyncio.Event().wait()


async def paced(item):
    await asyncio.sleep(PACE_S)


async def ticking(every_s):
    for n in count():
        yield n
        await asyncio.sleep(every_s)


# ---- what stands still ----------------------------------------------------------------------------------------------


def test_the_dead_consumer_is_named_and_not_the_producers_that_wait_through_several_nodes():
    @node
    def parse(item: int) -> int:
        return item

    @node
    def enrich(item: int) -> int:
        return item

    chain = (
        source(count(), name="read")
        >> via(capacity=4)
        >> parse
        >> via(capacity=4)
        >> enrich
        >> via(capacity=4)
        >> sink(hang, name="write")
    )
    before, now = two_looks(graph("g", chain))
    (found,) = find(now, before)
    assert ids([found]) == [("dead-consumer", "write", "enrich:output->write:input")]
    assert found.severity == "error"
    assert found.what == (
        "node 'write' has taken nothing from 'enrich:output->write:input' for 4.0 s: 4 of 4 wait, and with them "
        "'read', 'parse', 'enrich'"
    )
    line = hang.__code__.co_firstlineno + 1
    assert found.why == (
        "it awaits something that doesn't come back "
        f"(1 of its calls is under way; awaits in hang, test_findings.py:{line})"
    )
    assert ids(find(now)) == ids([found]), "the age of the wait shows it in one look, too"
    edges = tuple(replace(each, waiting=0) if each.source == "parse" else each for each in now.edges)
    assert ids(find(replace(now, edges=edges), before)) == ids([found]), (
        "a node held by a full output is no culprit, though it had no turn to wait"
    )


def test_a_dead_consumer_behind_a_lossy_edge_is_named_beside_what_it_loses():
    made = graph(
        "g", source(ticking(0.01), name="prices") >> via(capacity=8, policy=drop()) >> sink(hang, name="show")
    )
    before, now = two_looks(made, apart_s=12.0)
    assert ids(find(now, before)) == [
        ("dead-consumer", "show", "prices:output->show:input"),
        ("losses", "show", "prices:output->show:input"),
    ]


def test_a_node_that_makes_a_great_deal_of_one_message_is_not_dead():
    @node
    def explode(item: int):
        yield from count()

    def crunch(item: int) -> None:
        clock().advance(0.01)

    chain = (
        source(count(), name="read")
        >> via(capacity=4)
        >> explode
        >> via(capacity=64)
        >> sink(crunch, name="crunch")
    )
    before, now = two_looks(graph("g", chain))
    for doing in ("ready", "blocked", "running"):  # whatever a look happens to find it at
        nodes = tuple(replace(each, doing=doing) if each.name == "explode" else each for each in now.nodes)
        edges = tuple(replace(each, waiting=0) if each.source == "explode" else each for each in now.edges)
        found = find(replace(now, nodes=nodes, edges=edges), before)
        assert ids(found) == [("bottleneck", "crunch", "explode:output->crunch:input")]


def test_a_node_that_awaits_for_long_is_stalled_though_there_is_room_for_what_comes():
    async def hang_at(n: int) -> None:
        if n == 20:
            await asyncio.Event().wait()

    made = [graph("g", source(ticking(0.1), name="read") >> sink(hang_at, name="fetch")) for _ in range(2)]
    before, now = two_looks(made[0], after_s=5.05, apart_s=9.0)
    assert find(now, before) == (), "a call may take a while"
    before, now = two_looks(made[1], after_s=5.05, apart_s=11.0)
    (found,) = find(now, before)
    assert ids([found]) == [("stalled", "fetch", "read:output->fetch:input")]
    assert found.what == (
        "node 'fetch' has taken nothing from 'read:output->fetch:input' for 11.0 s, and 140 messages wait; "
        "there is room for 1,024"
    )
    assert "1 of its calls is under way" in found.why


def test_a_node_that_always_awaits_for_long_is_not_stalled():
    async def call(n: int) -> None:
        await asyncio.sleep(13)

    made = graph("g", source(ticking(5.0), name="read") >> sink(call, name="call"))
    before, now = two_looks(made, after_s=134.0, apart_s=10.5)
    assert find(now, before) == ()


def test_nodes_that_wait_in_a_circle_are_a_deadlock():
    @node(name="a")
    async def first(item: int) -> int:
        return item

    @node(name="b")
    def second(item: int):
        yield item
        yield item

    flow = graph("g", source(count(), name="feed") >> via(capacity=2) >> first >> via(capacity=2) >> second)
    flow.connect(("b", "output"), ("a", "input"), capacity=2)
    beat = graph(
        "h", source(ticking(1.0), name="clock") >> sink(paced, name="beat")
    )  # without it, the run would end
    scheduler = Scheduler(NOW)
    scheduler.register(flow)
    scheduler.register(beat)
    watch = Watch(scheduler)

    async def beside():
        await asyncio.sleep(2)
        before = watch.look()
        await asyncio.sleep(2)
        return before, watch.look()

    before, now = run_beside(scheduler, beside)
    (found,) = find(now, before)
    assert ids([found]) == [("deadlock", "a", "a:output->b:input")]
    assert "nodes 'a', 'b' have waited for each other for 4.0 s" in found.what


def test_a_stuck_loop_names_the_node_and_the_place_and_nothing_that_only_waits_for_it():
    before, now = two_looks(
        graph("g", source(count(), name="read") >> via(capacity=4) >> sink(hang, name="write"))
    )
    stack = (Frame("run", "app.py", 3), Frame("parse.<locals>.loop", "parse.py", 12))
    stuck = replace(now, loop=LoopSnapshot(0.0, 3.25, True, "parse", stack))
    (found,) = find(stuck, before)
    assert ids([found]) == [("loop-stuck", "parse", None)]
    assert (
        found.what
        == "node 'parse' has kept the event loop for 3.2 s; it is in parse.<locals>.loop, parse.py:12"
    )
    (found,) = find(replace(now, loop=LoopSnapshot(0.0, 200.0, True)))
    assert found.what == "code has kept the event loop for 3 min"


def test_a_node_that_could_not_be_started_is_named_with_the_class_of_its_failure():
    class Broken(Node):
        def on_start(self):
            raise RuntimeError("canary-51f0")

    made = graph("g", source(ticking(0.1), name="s") >> sink(paced, name="out"))
    made.add_node(Broken("broken", [Port("in", PortDirection.INPUT)]))
    before, now = two_looks(made)
    (found,) = find(now, before)
    assert ids([found]) == [("failed-to-start", "broken", None)]
    assert "RuntimeError" in found.what
    assert "canary" not in json.dumps(found.as_dict())


class Slow(Node):
    """A node one of whose hooks takes half a minute."""

    def __init__(self, name, hook):
        super().__init__(name, [Port("in", PortDirection.INPUT)])
        self.slow = hook

    async def on_start(self):
        await self.take("on_start")

    async def on_drain(self):
        await self.take("on_drain")

    async def on_stop(self):
        await self.take("on_stop")

    async def take(self, hook):
        if hook == self.slow:
            await asyncio.sleep(30)


def with_slow_hook(items, hook):
    made = graph("g", source(items, name="read") >> sink(paced, name="out"))
    made.add_node(Slow("db", hook))
    made.add_node(Slow("later", None))
    return made


def test_an_on_start_that_hangs_is_named_and_not_the_nodes_that_were_not_started_yet():
    before, now = two_looks(with_slow_hook(count(), "on_start"))
    (found,) = find(now, before)
    assert ids([found]) == [("start-hangs", "db", None)]
    assert found.what.startswith(
        "on_start of node 'db' has gone on for 4.0 s; awaits in Slow.take, test_findings.py:"
    )
    assert now.node("db").waits_in.function == "Slow.take"
    assert find(before) == (), "two seconds are no reason yet"
    assert {each.name: (each.state, each.doing) for each in now.nodes} == {
        "read": ("started", "idle"),
        "out": ("started", "idle"),
        "db": ("unstarted", "starting"),
        "later": ("unstarted", "unstarted"),
    }
    assert (now.node("db").hook, now.node("db").hook_s) == ("on_start", 4.0)
    assert (now.node("read").hook, now.node("read").hook_s) == (None, None)


def test_an_on_stop_that_hangs_is_named_and_who_was_stopped_before_it():
    before, now = two_looks(with_slow_hook([1], "on_stop"))
    (found,) = find(now, before)
    assert ids([found]) == [("stop-hangs", "db", None)]
    assert "on_stop of node 'db' has gone on for 4.0 s" in found.what
    doing = {each.name: (each.state, each.doing) for each in now.nodes}
    assert doing["db"] == ("started", "stopping")
    assert {doing["read"], doing["later"]} <= {("started", "idle"), ("stopped", "stopped")}
    assert ("stopped", "stopped") in doing.values()


def test_an_on_drain_that_hangs_keeps_the_run_from_its_end():
    before, now = two_looks(with_slow_hook([1], "on_drain"))
    (found,) = find(now, before)
    assert ids([found]) == [("stop-hangs", "db", None)]
    assert found.what.startswith("on_drain of node 'db' has gone on for 4.0 s; awaits in Slow.take")
    assert (now.node("db").state, now.node("db").doing) == ("started", "stopping")


def test_a_run_that_ended_stuck_names_where_its_messages_lie():
    @node(name="a")
    def first(item: int) -> int:
        return item

    @node(name="b")
    def second(item: int):
        yield item
        yield item

    flow = graph("g", source(count(), name="feed") >> via(capacity=2) >> first >> via(capacity=2) >> second)
    flow.connect(("b", "output"), ("a", "input"), capacity=2)
    scheduler = Scheduler(NOW)
    scheduler.register(flow)
    scheduler.run()
    now = snapshot(scheduler)
    assert now.reason == "stuck"
    (found,) = find(now)
    assert (found.rule, found.edge is not None) == ("ended-stuck", True)


def test_a_node_that_takes_no_data_for_now_is_paused_and_not_dead():
    before, now = two_looks(
        graph("g", source(count(), name="read") >> via(capacity=4) >> sink(hang, name="gate"))
    )
    paused = replace(
        now, nodes=tuple(replace(n, doing="paused") if n.name == "gate" else n for n in now.nodes)
    )
    (found,) = find(paused, before)
    assert (found.rule, found.severity, found.node) == ("paused", "warning", "gate")


# ---- who is served ----------------------------------------------------------------------------------------------------


def urgent_and_plain(work_s, again):
    """Urgent work that takes ``work_s`` a message and, with ``again``, goes round in a circle, beside plain work."""

    @node(name="retry")
    def retry(item: int):
        clock().advance(work_s)
        if again:
            yield item

    made = graph("g", source(ticking(0.1), name="alarms") >> retry)
    rows = graph(
        "h", source(ticking(0.02), name="rows") >> via(capacity=4) >> sink(lambda _: None, name="store")
    )
    for each in rows.nodes.values():
        made.add_node(each)
    made.connect(("rows", "output"), ("store", "input"), capacity=4)
    circle = made.connect(("retry", "output"), ("retry", "input"))
    return made, [(circle, PriorityBand.HIGH)]


def test_a_band_that_is_never_served_is_named_with_who_takes_all():
    made, bands = urgent_and_plain(0.005, True)
    config = SchedulerConfig(shutdown_timeout_s=0, fairness_ratio=(1, 1_000_000, 1), max_batch_per_node=1)
    before, now = two_looks(made, config=config, bands=bands)
    found = find(now, before)
    assert found[0].rule == "starving", ids(found)
    assert (found[0].node, found[0].edge) == ("store", "rows:output->store:input")
    assert "band NORMAL isn't served" in found[0].what
    assert "'retry' " in found[0].why
    assert "1:1000000:1" in found[0].why


def test_bands_that_share_the_loop_as_they_should_starve_nobody():
    made, bands = urgent_and_plain(0.005, False)
    before, now = two_looks(made, bands=bands)
    assert "starving" not in [each.rule for each in find(now, before)]


# ---- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_storm_of_errors_is_named_with_its_class_rate_and_share():
    def invert(n: int) -> None:
        if n % 2:
            raise ZeroDivisionError("canary-51f0")

    before, now = two_looks(graph("g", source(ticking(0.01), name="s") >> sink(invert, name="invert")))
    (found,) = find(now, before)
    assert (found.rule, found.severity, found.node) == ("error-storm", "error", "invert")
    assert found.what.startswith(
        "node 'invert' failed 100 times in 2.0 s (50.0 per second, 50 % of what it handled)"
    )
    assert "ZeroDivisionError in test_findings.py" in found.what
    assert "canary" not in json.dumps(found.as_dict())


def test_an_error_now_and_then_is_a_warning():
    def seldom(n: int) -> None:
        if n % 1000 == 0:
            raise ValueError

    before, now = two_looks(graph("g", source(ticking(0.001), name="s") >> sink(seldom, name="out")))
    (found,) = find(now, before)
    assert (found.rule, found.severity, found.node) == ("node-errors", "warning", "out")
    assert "failed twice" not in found.what


@pytest.mark.parametrize(
    ("one_in", "rule", "severity"), [(10, "error-storm", "error"), (11, "node-errors", "warning")]
)
def test_what_fails_on_less_than_a_tenth_is_a_warning_however_often_that_is(one_in, rule, severity):
    def fail_some(n: int) -> None:
        if n % one_in == 0:
            raise ValueError

    before, now = two_looks(graph("g", source(ticking(0.001), name="s") >> sink(fail_some, name="out")))
    (found,) = find(now, before)
    assert (found.rule, found.severity) == (rule, severity)


def test_losses_are_named_by_edge_cause_and_policy_and_replacing_comes_last():
    made = graph(
        "g",
        source(ticking(0.01), name="fast") >> via(capacity=1, policy=latest()) >> sink(slow, name="newest"),
    )
    other = graph(
        "h", source(ticking(0.01), name="burst") >> via(capacity=1, policy=drop()) >> sink(slow, name="some")
    )
    for each in other.nodes.values():
        made.add_node(each)
    made.connect(("burst", "output"), ("some", "input"), capacity=1, policy=drop())
    before, now = two_looks(made)
    found = find(now, before)
    assert ids(found) == [
        ("losses", "some", "burst:output->some:input"),
        ("replaced", "newest", "fast:output->newest:input"),
    ]
    assert "cause dropped, policy drop" in found[0].what


async def slow(item):
    await asyncio.sleep(0.1)


def test_messages_that_a_schema_refuses_are_laid_on_their_producer():
    _, now = two_looks(graph("g", source(ticking(0.1), name="s") >> sink(paced, name="out")))
    edge = replace(now.edges[0], lost={"invalid": 1, "coalesce_error": 1, "expired": 2, "new_cause": 1})
    found = find(replace(now, edges=(edge,)))
    assert ids(found) == [
        ("lost-to-errors", "out", edge.id),
        ("lost-to-errors", "s", edge.id),
        ("losses", "out", edge.id),
        ("losses", "out", edge.id),
    ]
    assert found[-1].why == "the cause is 'new_cause'"
    assert " lost 1 message since the start " in found[1].what


def test_a_producer_whose_messages_are_refused_is_told_so_instead_of_being_called_faulty():
    def numbers(n: int) -> None: ...

    before, now = two_looks(graph("g", source(texts(), name="s") >> sink(numbers, name="numbers")))
    storm, refused = find(now, before)
    assert (storm.rule, storm.node) == ("error-storm", "s")
    assert storm.what.endswith("the last is meridian.core.errors.PayloadError")
    assert storm.why == "an edge refuses what it sends, since that doesn't fit the schema of the port"
    assert refused.rule == "lost-to-errors"


async def texts():
    async for n in ticking(0.01):
        yield str(n)


def test_messages_on_an_output_that_leads_nowhere_are_told():
    _, now = two_looks(graph("g", source(ticking(0.1), name="s") >> sink(paced, name="out")))
    nodes = (replace(now.nodes[0], unrouted=1200), *now.nodes[1:])
    (found,) = find(replace(now, nodes=nodes))
    assert ids([found]) == [("unrouted", "s", None)]
    assert "1,200 messages since the start" in found.what


# ---- what is slow -----------------------------------------------------------------------------------------------------


def test_a_node_that_takes_all_of_the_loop_while_its_input_fills_is_the_bottleneck():
    def crunch(item: int) -> None:
        clock().advance(0.01)

    made = graph("g", source(count(), name="read") >> via(capacity=8) >> sink(crunch, name="crunch"))
    before, now = two_looks(made)
    (found,) = find(now, before)
    assert ids([found]) == [("bottleneck", "crunch", "read:output->crunch:input")]
    assert "100 % of the time in 2.0 s" in found.what


@pytest.mark.parametrize("concurrency", [1, 4])
def test_asynchronous_code_that_computes_after_a_wait_is_the_bottleneck_and_not_a_slow_consumer(concurrency):
    @node(concurrency=concurrency)
    async def crunch(item: int) -> None:
        await asyncio.sleep(0.001)
        clock().advance(0.02)

    before, now = two_looks(graph("g", source(count(), name="read") >> via(capacity=8) >> crunch))
    (found,) = find(now, before)
    assert ids([found]) == [("bottleneck", "crunch", "read:output->crunch:input")]


def test_an_asynchronous_source_that_computes_and_leaves_the_loop_no_time_has_nobody_to_blame_but_itself():
    async def numbers():
        for n in count():
            clock().advance(0.02)
            yield n
            await asyncio.sleep(0)

    before, now = two_looks(
        graph("g", source(numbers(), name="read") >> via(capacity=8) >> sink(paced, name="store"))
    )
    assert now.node("read").recent.busy > 0.95
    assert find(now, before) == ()


@pytest.mark.parametrize(
    ("crunch", "read", "bottleneck"),
    [(0.85, 0.0, True), (0.7, 0.2, True), (0.75, 0.0, False), (0.5, 0.2, False)],
)
def test_a_bottleneck_leaves_the_loop_no_time_and_takes_most_of_it(crunch, read, bottleneck):
    """What is left belongs to the loop itself, and to whoever looks."""
    made = graph("g", source(ticking(0.1), name="read") >> via(capacity=8) >> sink(paced, name="crunch"))
    before, now = two_looks(made)
    share = {"crunch": crunch, "read": read}
    window_s = now.elapsed_s - before.elapsed_s
    nodes = tuple(
        replace(each, busy_s=was.busy_s + share[each.name] * window_s)
        for was, each in zip(before.nodes, now.nodes, strict=True)
    )
    found = find(replace(now, nodes=nodes, edges=(replace(now.edges[0], depth=8),)), before)
    assert ids(found) == ([("bottleneck", "crunch", "read:output->crunch:input")] if bottleneck else [])


def test_two_nodes_that_share_all_of_the_loop_are_named_together():
    @node
    def parse(item: int) -> int:
        clock().advance(0.01)
        return item

    @node
    def cheap(item: int) -> int:
        return item

    def store(item: int) -> None:
        clock().advance(0.01)

    chain = source(count(), name="read") >> via(capacity=8) >> parse >> cheap >> sink(store, name="store")
    before, now = two_looks(graph("g", chain))
    (found,) = find(now, before)
    assert ids([found]) == [("bottleneck", "parse", "read:output->parse:input")]
    assert found.what.startswith("nodes 'parse', 'store' were busy 50 % and 50 % of the time in 2.0 s, and ")


def test_messages_that_pile_up_where_there_is_much_room_are_told_before_the_memory_is_gone():
    made = graph(
        "g", source(ticking(0.001), name="read") >> via(capacity=1_000_000) >> sink(slow, name="write")
    )
    before, now = two_looks(made, after_s=4.0)
    (found,) = find(now, before)
    assert ids([found]) == [("piling-up", "write", "read:output->write:input")]
    assert found.what.endswith("more than 2.0 s ago; it has room for 1,000,000, and is full in 17 min")
    (edge,) = now.edges
    for calm in (
        replace(edge, depth=before.edges[0].depth),  # it doesn't grow
        replace(edge, accepted=20 * edge.depth),  # a burst, after many that are done with
        replace(edge, capacity=edge.depth, policy="drop"),  # full: that is told by others
    ):
        assert "piling-up" not in [each.rule for each in find(replace(now, edges=(calm,)), before)]
    assert find(now) == (), "one look shows no growth"


def test_a_node_that_awaits_while_the_loop_is_free_is_a_slow_consumer_and_not_dead():
    made = graph("g", source(count(), name="read") >> via(capacity=8) >> sink(slow, name="call"))
    before, now = two_looks(made, after_s=5.0)
    (found,) = find(now, before)
    assert ids([found]) == [("slow-consumer", "call", "read:output->call:input")]
    assert "10.0 messages per second" in found.what


@pytest.mark.parametrize("at_s", [1.5, 3.3, 7.7, 20.0])
def test_a_consumer_that_is_slow_but_moves_is_never_called_dead(at_s):
    async def very_slow(item):
        await asyncio.sleep(0.7)

    made = graph("g", source(count(), name="read") >> via(capacity=8) >> sink(very_slow, name="call"))
    before, now = two_looks(made, after_s=at_s, apart_s=0.4)
    for found in (find(now, before), find(now), find(before)):
        assert "dead-consumer" not in [each.rule for each in found]


def test_a_handler_that_keeps_the_loop_is_slow():
    def think(item: int) -> None:
        clock().advance(0.25)

    before, now = two_looks(
        graph("g", source(ticking(1.0), name="s") >> sink(think, name="think")), apart_s=4.0
    )
    (found,) = find(now, before)
    assert ids([found]) == [("slow-handler", "think", None)]
    assert found.what == "a turn of node 'think' took 250 ms on average in 4.0 s"
    assert "has taken 400 ms up to now" in find(in_a_turn(now, "think", 0.4), before)[0].what
    # Of few turns one more or less would be seen: the one that is still open is none of them.
    early, late = in_a_turn(before, "think", 0.1), in_a_turn(now, "think", 0.2)
    for pair in ((late, before), (now, early), (late, early)):
        assert [each.what for each in find(*pair)] == [found.what]


def in_a_turn(shot, name, open_s):
    """The same look, had it come while a turn of a node was open."""
    nodes = tuple(
        replace(each, busy_s=each.busy_s + open_s) if each.name == name else each for each in shot.nodes
    )
    return replace(shot, nodes=nodes, loop=LoopSnapshot(0.0, open_s, False, name))


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize(("each_s", "rules"), [(0.25, ["slow-handler"]), (0.05, [])])
def test_an_asynchronous_handler_that_keeps_the_loop_is_slow_and_one_that_waits_often_is_not(
    each_s, rules, concurrency
):
    @node(concurrency=concurrency)
    async def think(item: int) -> None:
        for _ in range(5):
            await asyncio.sleep(0.01)
            clock().advance(each_s)

    before, now = two_looks(graph("g", source(ticking(2.0), name="s") >> think), apart_s=4.0)
    assert [found.rule for found in find(now, before)] == rules


# ---- what is none -----------------------------------------------------------------------------------------------------


def healthy_graphs():
    @node
    def double(n: int) -> int:
        clock().advance(0.0001)
        return 2 * n

    async def bursts():
        for n in count():
            yield n
            if n % 50 == 49:
                await asyncio.sleep(0.2)

    def works(item: int) -> None:
        clock().advance(0.0001)

    yield (
        "back-pressure that moves",
        source(count(), name="s") >> via(capacity=8) >> double >> sink(works, name="out"),
    )
    yield (
        "a bursty source",
        source(bursts(), name="s") >> via(capacity=16) >> double >> sink(paced, name="out"),
    )
    yield "idle", source(ticking(10.0), name="s") >> double >> sink(paced, name="out")


@pytest.mark.parametrize("which", range(3))
def test_a_busy_graph_that_does_well_has_no_finding(which):
    name, flow = list(healthy_graphs())[which]
    before, now = two_looks(graph("g", flow))
    assert find(now, before) == find(now) == find(before) == (), name


def test_an_edge_that_is_full_for_an_instant_is_no_finding():
    async def second(item):
        await asyncio.sleep(0.5)

    inlet = Inlet("in")
    scheduler = Scheduler(NOW)
    scheduler.register(graph("g", inlet >> via(capacity=2) >> sink(second, name="out")))
    watch = Watch(scheduler)

    async def beside():
        await asyncio.sleep(1)
        before = watch.look()
        for n in range(4):
            await inlet.put(n)
        now = watch.look()
        return before, now

    before, now = run_beside(scheduler, beside)
    assert find(now, before) == ()


# ---- what holds for all -----------------------------------------------------------------------------------------------


def test_errors_come_before_warnings_and_equal_looks_give_equal_findings():
    made = graph("g", source(count(), name="read") >> via(capacity=4) >> sink(hang, name="write"))
    before, now = two_looks(made)
    edge = replace(now.edges[0], lost={"dropped": 3})
    worse = replace(now, edges=(edge,), nodes=tuple(replace(n, unrouted=1) for n in now.nodes))
    found = find(worse, before)
    assert [each.rule for each in found] == ["dead-consumer", "losses", "unrouted", "unrouted"]
    assert find(Snapshot.from_dict(json.loads(worse.as_json())), before) == found
    severities = [rule.severity for rule in RULES.values()]
    assert severities == sorted(severities), "the rules themselves are in that order"


def test_a_look_before_of_another_run_or_a_later_one_is_left_out_of_account():
    made = graph("g", source(count(), name="read") >> via(capacity=4) >> sink(hang, name="write"))
    before, now = two_looks(made)
    alone = find(now)
    assert find(now, replace(before, run="1-1")) == alone
    assert find(before, now) == find(before)


def test_names_that_carry_secrets_are_redacted_in_every_text():
    made = graph("g", source(count(), name="read") >> via(capacity=4) >> sink(hang, name="ada@example.com"))
    before, now = two_looks(made)
    (found,) = find(now, before)
    assert "ada@example.com" not in json.dumps(found.as_dict()) + found.what + found.why + found.fix
    assert found.as_dict()["node"] == "[redacted:email]"


# ---- processes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("letter", "rule"),
    [
        ("T", "process-stopped"),
        ("t", "process-stopped"),
        ("Z", "process-gone"),
        ("D", "process-frozen"),
        ("R", "not-answering"),
        ("S", "not-answering"),
        (None, "not-answering"),
    ],
)
def test_what_the_system_says_of_a_process_tells_why_it_does_not_answer(monkeypatch, letter, rule):
    monkeypatch.setattr(findings_module, "is_alive", lambda pid: True)
    monkeypatch.setattr(findings_module, "_state_of", lambda pid: letter)
    found = find_unreachable(4711, NoAnswerError("process 4711 didn't answer within 3 s"))
    assert (found.rule, found.severity, found.node, found.edge) == (rule, "error", None, None)
    assert "process 4711" in found.what
    if letter == "T":
        assert "kill -CONT 4711" in found.fix


def test_who_may_not_or_need_not_answer_is_told_apart(monkeypatch):
    monkeypatch.setattr(findings_module, "is_alive", lambda pid: pid == 4711)
    monkeypatch.setattr(findings_module, "_state_of", lambda pid: "S")
    for pid, error, rule in (
        (4711, NoSocketError("process 4711 serves no socket"), "not-served"),
        (4711, NotPermittedError("it isn't yours"), "not-permitted"),
        (4711, OtherVersionError("it speaks 3"), "other-version"),
        (4711, BadAnswerError("cut short"), "not-answering"),
        (4712, BadAnswerError("cut short"), "process-gone"),
        (4712, NoSuchProcessError("there is no process 4712"), "process-gone"),
        (None, NoAnswerError("the process didn't answer"), "not-answering"),
    ):
        assert find_unreachable(pid, error).rule == rule


def test_the_state_of_a_process_is_read_where_the_system_tells_it():
    import os

    assert findings_module._state_of(os.getpid()) in ("R", "S", None)
    assert findings_module._state_of(2**30) is None


def test_every_rule_has_an_id_of_small_words_and_a_meaning():
    for id, rule in RULES.items():
        assert id == id.lower()
        assert rule.means.endswith(".")
    assert isinstance(Finding("loop-stuck", "error", None, None, "", "", "").as_dict(), dict)
    assert Shares(0, 0, 1).idle == 1
