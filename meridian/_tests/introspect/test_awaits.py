"""Where asynchronous code hangs is told by name and line, of whatever kind it is; and of nobody who goes on."""

import asyncio
from itertools import count

import pytest

from meridian import Node, Port, PortDirection, Scheduler, SchedulerConfig, graph, node, sink, source, via
from meridian._tests.introspect.beside import run_beside
from meridian.core.function import Inlet
from meridian.introspect import Frame, Snapshot, Watch
from meridian.introspect.awaits import innermost

pytestmark = [pytest.mark.usefixtures("engine"), pytest.mark.req("N6", "N7")]


async def fetch():
    await asyncio.Event().wait()


HERE = Frame("fetch", "test_awaits.py", fetch.__code__.co_firstlineno + 1)


@node(name="it")
async def awaits(item: int) -> int:
    await fetch()
    return item


@node(name="it", concurrency=3)
async def awaits_several(item: int) -> int:
    async with asyncio.timeout(100):
        await fetch()
    return item


@node(name="it")
async def yields(item: int):
    yield item
    await fetch()


class Handles(Node):
    def __init__(self):
        super().__init__("it", [Port("input", PortDirection.INPUT)])

    async def on_message(self, port, message):
        await fetch()


class Ticks(Node):
    def __init__(self):
        super().__init__("it", [])

    async def on_tick(self):
        await fetch()


async def items():
    yield 1
    await fetch()


class Items:
    def __aiter__(self):
        return self

    async def __anext__(self):
        await fetch()


def fed(it):
    return graph("g", source(count(), name="read") >> via(capacity=4) >> it)


def alone(it):
    made = graph("g", Inlet("in") >> sink(str, name="out"))
    made.add_node(it)
    return made


def of_class():
    made = graph("g", source(count(), name="read"))
    made.add_node(Handles())
    made.connect(("read", "output"), ("it", "input"), capacity=4)
    return made


GRAPHS = {
    "function": lambda: fed(awaits),
    "several at a time": lambda: fed(awaits_several),
    "generator": lambda: graph("g", source([1], name="read") >> yields >> sink(str, name="out")),
    "class": of_class,
    "tick": lambda: alone(Ticks()),
    "source of a generator": lambda: graph("g", source(items(), name="it") >> sink(str, name="out")),
    "source of a class": lambda: graph("g", source(Items(), name="it") >> sink(str, name="out")),
}


def looks(made, looks_at):
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0))
    scheduler.register(made)
    watch = Watch(scheduler)

    async def beside():
        shots = []
        for _ in range(looks_at):
            await asyncio.sleep(1)
            shots.append(watch.look())
        return shots

    return run_beside(scheduler, beside)


@pytest.mark.parametrize("kind", GRAPHS)
def test_where_code_awaits_is_told_of_every_kind_of_node(kind):
    for shot in looks(GRAPHS[kind](), 2):
        assert shot.node("it").waits_in == HERE
        others = [each.waits_in for each in shot.nodes if each.name != "it"]
        assert others == [None] * len(others)
        assert Snapshot.from_dict(shot.as_dict()).node("it").waits_in == HERE


def test_a_node_that_goes_on_is_told_of_only_by_the_first_look():
    @node(name="it")
    async def goes_on(item: int) -> int:
        await asyncio.sleep(0.6)
        return item

    made = graph("g", source(count(), name="read") >> via(capacity=4) >> goes_on >> sink(str, name="out"))
    told = [shot.node("it").waits_in is not None for shot in looks(made, 3)]
    assert told == [True, False, False]


def test_code_that_ended_or_never_began_to_wait_waits_nowhere():
    async def returns():
        return None

    work = returns()
    with pytest.raises(StopIteration):
        work.send(None)
    assert innermost(work) is None
    assert innermost(None) is None
