"""One look for all metrics; their numbers belong together and never go backwards."""

import asyncio
import re
from itertools import pairwise

import pytest

from meridian import (
    Message,
    MessageType,
    Node,
    Port,
    PortDirection,
    Scheduler,
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
from meridian.observability.adapters.catalogue import CATALOGUE, Reader, exposition_name

pytestmark = pytest.mark.usefixtures("engine")


def numbers(reader):
    """Return what a reader says, by name of the metric and values of its labels."""
    return {
        (metric.name.removeprefix("meridian."), *point.labels.values()): point.value
        for metric, points in reader.read()
        for point in points
    }


def finished(made):
    scheduler = Scheduler()
    scheduler.register(made)
    scheduler.run()
    return scheduler


@pytest.mark.req("N7", "X1")
def test_names_are_legal_and_there_is_one_of_each():
    names = [exposition_name(metric) for metric in CATALOGUE]
    assert len(set(names)) == len(names)
    for name, metric in zip(names, CATALOGUE, strict=True):
        assert re.fullmatch(r"meridian_[a-z]+(_[a-z]+)*", name)
        assert metric.kind in ("counter", "gauge", "info", "quantiles")
        assert name.endswith("_total") == (metric.kind == "counter")
        assert name.endswith("_info") == (metric.kind == "info")
        assert metric.what.endswith(".")


@pytest.mark.req("V14", "N7")
def test_all_of_it_is_one_look_at_a_run():
    @node
    def double(n: int) -> int:
        return 2 * n

    scheduler = finished(
        graph(
            "g",
            source(range(1_000), name="s")
            >> double
            >> via(capacity=2, policy=latest())
            >> sink(print, name="t"),
        )
    )
    said, report = numbers(Reader(scheduler)), scheduler.report()
    for edge in report.edges:
        lost = sum(n for key, n in said.items() if key[:2] == ("edge.lost", edge.id))
        gone = said["edge.delivered", edge.id] + said["edge.merged", edge.id] + lost
        assert said["edge.accepted", edge.id] == edge.accepted == gone + said["edge.depth", edge.id]
        assert said["edge.capacity", edge.id] == edge.capacity
    assert said["node.produced", "s"] == said["node.handled", "double"] == 1_000
    assert said["edge", "double:output->t:input", "double", "t", "latest", "NORMAL"] == 1
    assert said["engine", report.engine] == 1
    assert (said["runs",], said["nodes", "stopped"], said["nodes", "idle"]) == (0, 3, 0)
    assert (said["node.state", "s", "stopped"], said["node.state", "s", "started"]) == (1, 0)


@pytest.mark.req("N7")
def test_what_nobody_measured_has_no_point():
    said = numbers(Reader(finished(graph("g", source([1], name="s") >> sink(print, name="t")))))
    names = {key[0] for key in said}
    assert names.isdisjoint({"edge.head_age", "edge.size", "edge.size_limit", "loop.lag"})
    assert said["edge.wait_age", "s:output->t:input"] == 0, "that nobody waits is known"


@pytest.mark.req("N7")
def test_without_a_run_only_the_process_is_told():
    assert {key[0] for key in numbers(Reader())} == {"build", "runs", "events", "events.held_back"}
    assert numbers(Reader(Scheduler()))["runs",] == 0


@pytest.mark.req("V14")
def test_a_cause_of_loss_that_is_to_be_expected_stands_at_0_before_the_first_loss():
    made = graph(
        "g",
        source([], name="s") >> via(policy=drop(), max_age_s=60) >> sink(print, name="t"),
        source([], name="blocks") >> sink(print, name="u"),
    )
    lost = {key[1:]: n for key, n in numbers(Reader(finished(made))).items() if key[0] == "edge.lost"}
    assert lost == {("s:output->t:input", "dropped"): 0, ("s:output->t:input", "expired"): 0}


@pytest.mark.req("N7", "X1")
def test_the_seconds_of_a_node_add_up_to_those_of_the_run_and_a_wait_that_is_open_counts():
    async def write(n: int) -> None:
        await asyncio.sleep(3600)

    scheduler = Scheduler()
    scheduler.register(
        graph("g", source(range(100), name="read") >> via(capacity=1) >> sink(write, name="write"))
    )
    reader = Reader(scheduler)

    async def beside():
        said = []
        for _ in range(5):
            await asyncio.sleep(1.0)
            said.append(numbers(reader))
        return said

    said = run_beside(scheduler, beside)
    for each in said:
        for name in ("read", "write"):
            spent = [each["node.time", name, activity] for activity in ("busy", "blocked", "idle")]
            assert sum(spent) == pytest.approx(each["run.elapsed",])
    assert said[-1]["node.time", "read", "blocked"] == pytest.approx(5.0)
    assert said[-1]["node.time", "write", "idle"] == pytest.approx(5.0)
    edge = "read:output->write:input"
    assert said[-1]["edge.wait_age", edge] == pytest.approx(5.0)
    assert (said[-1]["edge.waiting", edge], said[-1]["edge.blocked", edge]) == (1, pytest.approx(5.0))
    assert said[-1]["nodes", "blocked"] == 1


class Many(Node):
    """Emits what it gets five times, and has ``seen`` called before."""

    def __init__(self, seen):
        ports = {
            way: [Port(name, way)]
            for name, way in (("in", PortDirection.INPUT), ("out", PortDirection.OUTPUT))
        }
        super().__init__("many", inputs=ports[PortDirection.INPUT], outputs=ports[PortDirection.OUTPUT])
        self._seen = seen

    def _handle_message(self, port: str, message: Message) -> None:
        self._seen()
        for _ in range(5):
            self.emit("out", Message(MessageType.DATA, message.payload))


@pytest.mark.req("V14")
def test_no_counter_shrinks_although_a_part_of_a_batch_comes_back():
    looks = []
    scheduler = Scheduler()
    reader = Reader(scheduler)

    def see() -> None:
        looks.append((numbers(reader), scheduler.report().edges[0].delivered))

    async def slow(n: int) -> None:
        await asyncio.sleep(1.0)

    made = graph(
        "g",
        source(range(20), name="s") >> Many(see) >> via(capacity=8) >> sink(slow, name="t", concurrency=1),
    )
    scheduler.register(made)

    async def beside():
        for _ in range(60):
            await asyncio.sleep(1.0)
            see()

    run_beside(scheduler, beside)
    told = [delivered for _, delivered in looks]
    assert told != sorted(told), "a batch came back, or this test shows nothing"
    counters = {metric.name.removeprefix("meridian.") for metric in CATALOGUE if metric.kind == "counter"}
    for (before, _), (after, _) in pairwise(looks):
        for key, value in before.items():
            assert key[0] not in counters or after[key] >= value, key
    edge = "s:output->many:in"
    for said, _ in looks:
        assert said["edge.accepted", edge] == said["edge.delivered", edge] + said["edge.depth", edge]
        assert said["edge.depth", edge] >= 0


@pytest.mark.req("N7", "X1")
def test_runs_that_go_on_at_once_are_kept_apart():
    async def main():
        inlets = [Inlet("in"), Inlet("in")]
        schedulers = [Scheduler(), Scheduler()]
        for inlet, scheduler in zip(inlets, schedulers, strict=True):
            scheduler.register(graph("g", inlet >> sink(lambda _: None, name="out")))
        runs = [asyncio.create_task(scheduler.run_async()) for scheduler in schedulers]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        reader = Reader()
        both = numbers(reader)
        schedulers[0].shutdown()
        await runs[0]
        one = numbers(reader)
        schedulers[1].shutdown()
        await runs[1]
        return both, one, numbers(reader)

    both, one, none = asyncio.run(main())
    assert both["runs",] == 2
    assert {key[2:] for key in both if key[:2] == ("node.handled", "out")} == {(), ("2",)}
    assert {key[2:] for key in one if key[:2] == ("node.handled", "out")} == {("2",)}, "it keeps its place"
    assert not any(key[0] == "node.handled" for key in none)


@pytest.mark.req("X2", "N7")
def test_names_are_redacted_and_still_kept_apart():
    names = ["jane.roe@corp.example", "john.doe@mail.example"]
    made = graph("g", *(source([], name=name) >> sink(print, name=f"to {name}") for name in names))
    points = [
        point.labels
        for metric, points in Reader(finished(made)).read()
        if metric.name == "meridian.node.handled"
        for point in points
    ]
    assert len({tuple(labels.items()) for labels in points}) == 4
    assert not any(name in str(points) for name in names)
