"""MessageQueueNode over a real Redis: at least once, whatever breaks."""

from __future__ import annotations

import asyncio
import builtins
import sys

import pytest
from redis.asyncio import Redis

from meridian import Message, MessageType, Scheduler, SchedulerConfig, graph, sink, source, via
from meridian.nodes.base import ErrorPolicy, NodeConfig
from meridian.nodes.extras import MissingExtraError
from meridian.nodes.network import MessageQueueNode

pytestmark = pytest.mark.req("V11")

CANARY = "canary-c0de"


def producer(url, name="p", error_policy=ErrorPolicy.LOG_AND_CONTINUE, **settings):
    config = {"url": url, "first_wait_s": 0.01, "longest_wait_s": 0.05, **settings}
    return MessageQueueNode(name, "redis", config, "orders", config=NodeConfig(error_policy=error_policy))


def consumer(url, name="c", error_policy=ErrorPolicy.LOG_AND_CONTINUE, **settings):
    config = {"url": url, "first_wait_s": 0.01, "longest_wait_s": 0.05, "block_ms": 100, **settings}
    return MessageQueueNode(
        name, "redis", config, "orders", mode="consumer", config=NodeConfig(error_policy=error_policy)
    )


def scheduler_of(*graphs):
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=30))
    for each in graphs:
        scheduler.register(each)
    return scheduler


async def run(*graphs):
    async with asyncio.timeout(30):
        return await scheduler_of(*graphs).run_async()


async def consume(node, enough, capacity=64, handler=None):
    """Run a consumer until ``enough(seen)``; return what it emitted, and the report."""
    seen: list = []

    def note(payload) -> None:
        seen.append(payload)
        if enough(seen):
            scheduler.shutdown()

    scheduler = scheduler_of(graph("c", node >> via(capacity=capacity) >> sink(handler or note, name="s")))
    async with asyncio.timeout(30):
        return seen, await scheduler.run_async()


async def raw(url, *command):
    async with Redis.from_url(url, protocol=2) as client:
        return await client.execute_command(*command)


def test_messages_go_through_redis_in_order_and_leave_nothing_behind(redis_server):
    items = [{"n": n, "text": "é", "none": None, "list": [1.5, True]} for n in range(300)]

    async def main():
        report = await run(
            graph("p", source(items) >> via(capacity=2) >> producer(redis_server.url, buffer=8))
        )
        assert report.reason == "finished"
        assert await raw(redis_server.url, "XLEN", "orders") == 300
        seen, report = await consume(consumer(redis_server.url), lambda seen: len(seen) == 300, capacity=1)
        assert report.reason == "shutdown"
        assert report.errors_total == 0
        assert await raw(redis_server.url, "XLEN", "orders") == 0
        return seen

    assert asyncio.run(main()) == items


def test_traces_go_on_behind_redis(redis_server):
    traces: list[str] = []

    def note(message: Message) -> None:
        traces.append(message.get_trace_id())
        scheduler.shutdown()

    sent = Message(MessageType.DATA, 1, None, {"trace_id": "trace-7"})
    scheduler = scheduler_of(
        graph("p", source([sent], name="source") >> producer(redis_server.url)),
        graph("c", consumer(redis_server.url) >> sink(note, name="s")),
    )
    asyncio.run(scheduler.run_async())
    assert traces == ["trace-7"]


def test_kept_entries_stay_for_other_groups(redis_server):
    async def main():
        await run(graph("p", source(range(3)) >> producer(redis_server.url)))
        for group in ("a", "b"):
            node = consumer(redis_server.url, group=group, keep=True)
            seen, _ = await consume(node, lambda seen: len(seen) == 3)
            assert seen == [0, 1, 2]
        assert await raw(redis_server.url, "XLEN", "orders") == 3

    asyncio.run(main())


def test_the_stream_can_be_bounded(redis_server):
    async def main():
        await run(graph("p", source(range(1000)) >> producer(redis_server.url, maxlen=10)))
        assert await raw(redis_server.url, "XLEN", "orders") < 300  # about: Redis trims whole nodes of 100

    asyncio.run(main())


def test_consumers_of_a_group_share_the_messages(redis_server):
    seen: list[int] = []

    def note(n: int) -> None:
        seen.append(n)
        if len(seen) == 200:
            scheduler.shutdown()

    scheduler = scheduler_of(
        graph("p", source(range(200)) >> producer(redis_server.url)),
        *[
            graph(f"g{i}", consumer(redis_server.url, f"c{i}", count=5) >> sink(note, name=f"s{i}"))
            for i in range(3)
        ],
    )
    asyncio.run(scheduler.run_async())
    assert sorted(seen) == list(range(200))


def test_what_no_edge_took_is_not_confirmed_and_comes_again(redis_server):
    async def main():
        await run(graph("p", source(range(10)) >> producer(redis_server.url)))
        started = asyncio.Event()
        first: list[int] = []

        async def stuck(n: int) -> None:
            first.append(n)
            started.set()
            await asyncio.Event().wait()

        scheduler = scheduler_of(
            graph("c", consumer(redis_server.url) >> via(capacity=1) >> sink(stuck, name="s"))
        )
        task = asyncio.create_task(scheduler.run_async())
        await started.wait()
        # One is handled, one lies on the edge: the third is the first that waits.
        while (await raw(redis_server.url, "XPENDING", "orders", "meridian"))["pending"] != 10:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        left = sum(scheduler.report().left.values())
        assert (first, left) == ([0], 1)
        seen, _ = await consume(consumer(redis_server.url), lambda seen: seen[-1] == 9)
        assert seen == list(range(2, 10))

    asyncio.run(main())


def test_what_another_consumer_never_confirmed_can_be_claimed(redis_server):
    async def main():
        await run(graph("p", source(range(3)) >> producer(redis_server.url)))
        await raw(redis_server.url, "XGROUP", "CREATE", "orders", "meridian", "0")
        await raw(redis_server.url, "XREADGROUP", "GROUP", "meridian", "dead", "STREAMS", "orders", ">")
        node = consumer(redis_server.url, claim_idle_ms=1, block_ms=5)
        seen, _ = await consume(node, lambda seen: len(seen) == 3)
        assert seen == [0, 1, 2]

    asyncio.run(main())


@pytest.mark.v1("D52")
def test_redis_killed_in_the_middle_and_started_again_loses_nothing(redis_server):
    n = 2000
    killed = 0
    seen: list[int] = []

    async def main():
        def note(i: int) -> None:
            seen.append(i)
            if len(seen) in (100, 500):
                kills.put_nowait(None)
            if len(set(seen)) == n:
                scheduler.shutdown()

        kills: asyncio.Queue[None] = asyncio.Queue()
        scheduler = scheduler_of(
            graph("p", source(range(n)) >> via(capacity=4) >> producer(redis_server.url, buffer=16)),
            graph("c", consumer(redis_server.url, count=16) >> via(capacity=2) >> sink(note, name="s")),
        )
        task = asyncio.create_task(scheduler.run_async())

        async def murder() -> None:
            nonlocal killed
            for _ in range(2):
                await kills.get()
                await asyncio.to_thread(redis_server.kill)
                await asyncio.to_thread(redis_server.start)
                killed += 1

        async with asyncio.timeout(60):
            await asyncio.gather(task, murder())

    asyncio.run(main())
    assert killed == 2
    assert set(seen) == set(range(n))
    assert len(seen) - n < 200  # what was under way comes twice, no more


def test_a_stream_that_is_gone_after_a_restart_is_made_anew(redis_server):
    async def main():
        seen: list[int] = []

        def note(i: int) -> None:
            seen.append(i)
            if i == 1:
                scheduler.shutdown()
            else:
                gone.set()

        gone = asyncio.Event()
        scheduler = scheduler_of(graph("c", consumer(redis_server.url) >> sink(note, name="s")))
        task = asyncio.create_task(scheduler.run_async())
        await run(graph("p", source([0]) >> producer(redis_server.url)))
        await gone.wait()
        await raw(redis_server.url, "FLUSHALL")
        await run(graph("p2", source([1]) >> producer(redis_server.url)))
        async with asyncio.timeout(20):
            await task
        return seen

    assert asyncio.run(main()) == [0, 1]


def test_without_a_server_the_producer_waits_and_its_input_too(redis_server, records):
    redis_server.kill()

    async def main():
        scheduler = scheduler_of(
            graph("p", source(range(300)) >> via(capacity=2) >> producer(redis_server.url, buffer=8))
        )
        task = asyncio.create_task(scheduler.run_async())
        while sum(record["event"] == "network.connection_lost" for record in records()) < 3:
            await asyncio.sleep(0.001)
        edge = scheduler.report().edges[0]
        assert edge.delivered < 100
        await asyncio.to_thread(redis_server.start)
        async with asyncio.timeout(20):
            await task
        assert await raw(redis_server.url, "XLEN", "orders") == 300

    asyncio.run(main())
    lost = [record for record in records() if record["event"] == "network.connection_lost"]
    assert [record["retry_in_s"] for record in lost[:3]] == [0.01, 0.02, 0.04]


def test_attempts_can_be_bounded_and_what_cannot_be_sent_follows_the_policy(redis_server):
    redis_server.kill()

    async def main():
        node = producer(redis_server.url, max_attempts=3)
        return await run(graph("p", source([CANARY] * 5) >> node))

    report = asyncio.run(main())
    messages = {error.message for error in report.errors}
    assert messages == {"no connection after 3 attempts: ConnectionError"}
    assert report.errors_total == 6
    assert report.reason == "finished"


def test_what_json_cannot_say_follows_the_policy_and_the_next_one_goes(redis_server, log):
    async def main():
        report = await run(graph("p", source([{CANARY: object()}, 2]) >> producer(redis_server.url)))
        assert [error.message for error in report.errors] == ["<dict> is nothing that JSON can say"]
        seen, _ = await consume(consumer(redis_server.url), lambda seen: True)
        assert seen == [2]

    asyncio.run(main())
    assert CANARY not in log.getvalue()


@pytest.mark.parametrize("policy", list(ErrorPolicy))
def test_an_entry_that_is_no_json_follows_the_policy_and_does_not_come_again(redis_server, policy):
    async def main():
        await raw(redis_server.url, "XADD", "orders", "*", "payload", "{" + CANARY)
        await raw(redis_server.url, "XADD", "orders", "*", "something", "else")
        await raw(redis_server.url, "XADD", "orders", "*", "payload", "7")
        seen: list = []

        def note(message: Message) -> None:
            seen.append(message.payload if message.is_data() else message.payload["error_message"])
            wanted = 3 if policy is ErrorPolicy.EMIT_ERROR else 1
            if len(seen) == wanted:
                scheduler.shutdown()

        node = consumer(redis_server.url, error_policy=policy)
        scheduler = scheduler_of(graph("c", node >> sink(note, name="s")))
        report = await scheduler.run_async()
        text = "an entry of the queue holds no JSON"
        if policy is ErrorPolicy.EMIT_ERROR:
            assert sorted(map(str, seen)) == ["7", text, text]
        else:
            assert seen == [7]
        assert report.errors_total == 2
        assert CANARY not in repr(report)
        assert await raw(redis_server.url, "XLEN", "orders") == 0

    asyncio.run(main())


def test_a_shutdown_lets_redis_have_what_the_producer_holds(redis_server):
    async def main():
        scheduler = scheduler_of(
            graph("p", source(range(1000)) >> via(capacity=4) >> producer(redis_server.url))
        )
        task = asyncio.create_task(scheduler.run_async())
        while not (await raw(redis_server.url, "EXISTS", "orders")):
            await asyncio.sleep(0)
        scheduler.shutdown()
        report = await task
        assert report.left == {}
        assert await raw(redis_server.url, "XLEN", "orders") == report.edges[0].delivered

    asyncio.run(main())


def test_a_cancelled_run_says_how_much_was_not_sent(redis_server):
    redis_server.kill()

    async def main():
        node = producer(redis_server.url)
        scheduler = scheduler_of(graph("p", source(range(5)) >> node))
        task = asyncio.create_task(scheduler.run_async())
        while scheduler.report() is None or scheduler.report().edges[0].delivered < 5:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        (error,) = scheduler.report().errors
        assert error.message == "5 messages were not sent when the run stopped"
        # and the next run sends them
        await asyncio.to_thread(redis_server.start)
        await run(graph("again", source([5], name="more") >> node))
        assert await raw(redis_server.url, "XLEN", "orders") == 6

    asyncio.run(main())


# ---- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"url": "http://x"}, ValueError, "must begin with redis://, rediss:// or unix://"),
        ({"db": 1}, ValueError, "connection_config has 'db'; with a url it may have url, group"),
        ({"count": 0}, ValueError, "connection_config['count'] must be at least 1, got 0"),
        ({"buffer": None}, TypeError, "connection_config['buffer'] must be a whole number, got None"),
        ({"maxlen": 0}, ValueError, "connection_config['maxlen'] must be at least 1, got 0"),
        ({"first_wait_s": 0}, ValueError, "connection_config['first_wait_s'] must be above 0, got 0"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(settings, error, text):
    with pytest.raises(error) as caught:
        MessageQueueNode("q", "redis", {"url": "redis://x", **settings}, "orders")
    assert text in str(caught.value)
    assert "'q'" in str(caught.value)


def test_without_redis_a_url_is_refused_with_what_to_install(monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name.partition(".")[0] == "redis":
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    for name in [name for name in sys.modules if name.partition(".")[0] == "redis"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingExtraError) as caught:
        MessageQueueNode("q", "redis", {"url": "redis://x"}, "orders")
    assert str(caught.value) == (
        "node 'q' with a url needs redis, which isn't installed: pip install 'meridian-runtime[redis]'"
    )


def test_a_real_queue_needs_a_run():
    node = MessageQueueNode("q", "redis", {"url": "redis://x"}, "orders")
    with pytest.raises(RuntimeError, match="node 'q' has a real connection, which only works in a run"):
        node.on_start()
