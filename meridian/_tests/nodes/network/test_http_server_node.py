"""HttpServerNode: requests that are simulated, as in v1, and requests that really come."""

from __future__ import annotations

import asyncio
import builtins
import io
import socket
import sys
import threading

import aiohttp
import pytest

from meridian import Message, MessageType, Scheduler, SchedulerConfig, Subgraph, graph, sink, via
from meridian.core.errors import BackpressureError
from meridian.nodes.base import NodeConfig
from meridian.nodes.extras import MissingExtraError
from meridian.nodes.network import HttpServerNode
from meridian.testing import NodeTestHarness, simulate

pytestmark = pytest.mark.req("V11")


# ---- simulated --------------------------------------------------------------------------------------------------


def test_a_simulated_request_is_emitted_at_once():
    server = HttpServerNode("server")
    harness = NodeTestHarness(server)
    server.simulate_request("post", "/a", {"x": 1}, {"H": "v"})
    (message,) = harness.get_emitted_messages("output")
    assert message.type is MessageType.DATA
    assert message.payload == {"method": "POST", "path": "/a", "body": {"x": 1}, "headers": {"H": "v"}}


def test_body_and_headers_may_be_left_out():
    server = HttpServerNode("server", "requests", NodeConfig())
    harness = NodeTestHarness(server)
    server.simulate_request("GET", "/")
    (message,) = harness.get_emitted_messages("requests")
    assert message.payload == {"method": "GET", "path": "/", "body": None, "headers": {}}


def test_hooks_of_a_simulated_server_are_plain_calls():
    server = HttpServerNode("server")
    harness = NodeTestHarness(server)
    assert server.on_start() is None
    harness.trigger_tick()
    assert server.on_drain() is None
    assert server.on_stop() is None
    assert server.bound_port is None


@pytest.mark.v1("D52")
def test_requests_simulated_in_other_threads_all_arrive():
    seen, n = [], 4
    ready = threading.Event()

    def note(request: dict) -> None:
        seen.append(request["path"])
        if len(seen) == n * 200:
            scheduler.shutdown()

    def simulate_requests(who: int) -> None:
        ready.wait(10)
        for i in range(200):
            while True:
                try:
                    server.simulate_request("GET", f"/{who}/{i}")
                    break
                except BackpressureError:
                    threading.Event().wait(0.001)  # not accepted: again

    class Started(HttpServerNode):
        def on_start(self):
            super().on_start()
            ready.set()

    server = Started("server")
    server.max_parked = 8
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=30))
    scheduler.register(graph("g", server >> via(capacity=1) >> sink(note, name="seen")))
    threads = [threading.Thread(target=simulate_requests, args=(who,)) for who in range(n)]
    for thread in threads:
        thread.start()
    scheduler.run()
    for thread in threads:
        thread.join()
    assert len(seen) == n * 200
    for who in range(n):
        assert [path for path in seen if path.startswith(f"/{who}/")] == [f"/{who}/{i}" for i in range(200)]


def test_a_run_with_a_simulated_server_ends_as_one_with_endless_tickers():
    ran = simulate(
        lambda: graph("g", HttpServerNode("server") >> sink(print, name="seen")),
        config=SchedulerConfig(shutdown_timeout_s=3),
    )
    assert ran.report.reason == "quiet"
    assert ran.elapsed_s == pytest.approx(3)


# ---- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"port": -1}, ValueError, "'s': port must be at least 0, got -1"),
        ({"port": 65536}, ValueError, "'s': port must be at most 65535, got 65536"),
        ({"port": "80"}, TypeError, "'s': port must be a whole number, got '"),
        ({"max_body": 0}, ValueError, "'s': max_body must be at least 1, got 0"),
        ({"max_waiting": 0}, ValueError, "'s': max_waiting must be at least 1, got 0"),
        ({"timeout_seconds": 0}, ValueError, "'s': timeout_seconds must be above 0, got 0"),
        ({"reply_status": 404}, ValueError, "'s': reply_status must be at most 299, got 404"),
        ({"reply_status": 100}, ValueError, "'s': reply_status must be at least 200, got 100"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(settings, error, text):
    with pytest.raises(error) as caught:
        HttpServerNode("s", **settings)
    assert text in str(caught.value)


def test_without_aiohttp_a_host_is_refused_with_what_to_install(monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name.partition(".")[0] == "aiohttp":
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    for name in [name for name in sys.modules if name.partition(".")[0] == "aiohttp"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingExtraError) as caught:
        HttpServerNode("s", host="127.0.0.1")
    assert str(caught.value) == (
        "node 's' with a host needs aiohttp, which isn't installed: pip install 'meridian-runtime[http]'"
    )
    assert isinstance(caught.value, ImportError)
    HttpServerNode("s")  # simulated ones need nothing


# ---- real -------------------------------------------------------------------------------------------------------


def serving(scenario, handler=None, capacity=64, config=None, **settings):
    """Run a server with a sink behind it and ``scenario(session, url, scheduler, node)`` beside; return what arrived, and the report."""
    seen: list = []

    async def main():
        node = HttpServerNode("server", host="127.0.0.1", **settings)
        scheduler = Scheduler(config or SchedulerConfig(shutdown_timeout_s=10))
        target = sink(handler or seen.append, name="seen")
        scheduler.register(graph("g", node >> via(capacity=capacity) >> target))
        run = asyncio.create_task(scheduler.run_async())
        try:
            port = await node.wait_serving()
            assert port == await node.wait_serving() == node.bound_port
            async with aiohttp.ClientSession() as session:
                await scenario(session, f"http://127.0.0.1:{port}", scheduler, node)
        finally:
            scheduler.shutdown()
            report = await run
        assert node.bound_port is None
        return report

    return seen, asyncio.run(main())


async def until(reached):
    while not reached():
        await asyncio.sleep(0)


async def post(session, url, **kwargs):
    async with session.post(url, **kwargs) as response:
        return response.status


def test_a_request_becomes_a_message():
    async def scenario(session, url, scheduler, node):
        assert (
            await post(
                session,
                url + "/a%20b?x=1&y",
                data=b'{"n": 1}',
                headers={"Content-Type": "application/json", "X-Kind": "t"},
            )
            == 202
        )

    (request,), report = serving(scenario)
    assert list(request) == ["method", "path", "body", "headers"]
    assert (request["method"], request["path"], request["body"]) == ("POST", "/a%20b?x=1&y", '{"n": 1}')
    assert request["headers"]["X-Kind"] == "t"
    assert type(request["headers"]) is dict
    assert report.reason == "shutdown"


@pytest.mark.parametrize(
    ("raw", "kind", "body"),
    [
        (b"", "text/plain", None),
        (b"\xe9", "text/plain; charset=latin-1", "é"),
        ("é".encode(), "text/plain", "é"),
        (b"\xff", "text/plain", b"\xff"),
        (b"abc", "text/plain; charset=nobody-knows", b"abc"),
        (b"{no json", "application/json", "{no json"),
        (b"<a/>", "image/svg+xml", "<a/>"),
        (b"a=b", "application/x-www-form-urlencoded", "a=b"),
        (b"\x00\x01", "application/octet-stream", b"\x00\x01"),
    ],
)  # fmt: skip
def test_a_body_is_text_if_its_type_is_textual_and_bytes_otherwise(raw, kind, body):
    async def scenario(session, url, scheduler, node):
        assert await post(session, url, data=raw, headers={"Content-Type": kind}) == 202

    (request,), _ = serving(scenario)
    assert request["body"] == body


def test_the_status_of_the_reply_can_be_chosen():
    async def scenario(session, url, scheduler, node):
        assert await post(session, url) == 204

    serving(scenario, reply_status=204)


def test_a_body_beyond_the_bound_is_refused_with_413_whether_or_not_it_is_announced():
    async def chunks():
        for _ in range(4):
            yield b"x" * 500

    async def scenario(session, url, scheduler, node):
        assert await post(session, url, data=b"x" * 1001) == 413
        assert await post(session, url, data=chunks()) == 413
        assert await post(session, url, data=b"x" * 1000) == 202

    seen, _ = serving(scenario, max_body=1000)
    assert [len(request["body"]) for request in seen] == [1000]


def test_ten_megabytes_arrive_whole_where_they_may():
    body = b"0123456789" * (1 << 20)

    async def scenario(session, url, scheduler, node):
        assert await post(session, url, data=io.BytesIO(body)) == 202

    (request,), _ = serving(scenario, max_body=len(body))
    assert request["body"] == body


def test_a_request_waits_while_the_edge_is_full_and_beyond_the_bound_it_gets_503():
    arrived: list[str] = []

    async def scenario(session, url, scheduler, node):
        for path in ("/handled", "/on-the-edge"):
            assert await post(session, url + path) == 202
        waiting = [asyncio.create_task(post(session, f"{url}/{i}")) for i in range(2)]
        await until(lambda: len(node._waiting) == 2)
        async with session.get(url + "/refused") as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "1")
        room.set()
        assert await asyncio.gather(*waiting) == [202, 202]

    async def handle(request: dict) -> None:
        await room.wait()
        arrived.append(request["path"])

    room = asyncio.Event()
    serving(scenario, handle, capacity=1, max_waiting=2)
    assert sorted(arrived) == ["/0", "/1", "/handled", "/on-the-edge"]


def test_a_request_that_finds_no_room_in_time_gets_503():
    async def scenario(session, url, scheduler, node):
        first = [asyncio.create_task(post(session, url)) for _ in range(2)]
        await asyncio.gather(*first)
        assert await post(session, url) == 503
        room.set()

    async def handle(request: dict) -> None:
        await room.wait()

    room = asyncio.Event()
    serving(scenario, handle, capacity=1, timeout_seconds=0.05)


def test_a_body_that_does_not_arrive_in_time_gets_408():
    async def scenario(session, url, scheduler, node):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
        writer.close()
        await writer.wait_closed()

    seen, _ = serving(scenario, timeout_seconds=0.05)
    assert seen == []


def test_a_client_that_hangs_up_takes_its_waiting_request_back():
    arrived: list[str] = []

    async def scenario(session, url, scheduler, node):
        assert await post(session, url + "/handled") == 202
        assert await post(session, url + "/on-the-edge") == 202
        waits = asyncio.create_task(post(session, url + "/gone"))
        await until(lambda: len(node._waiting) == 1)
        waits.cancel()
        await asyncio.gather(waits, return_exceptions=True)
        assert await post(session, url + "/never") == 503
        room.set()
        assert await post(session, url + "/last") == 202

    async def handle(request: dict) -> None:
        await room.wait()
        arrived.append(request["path"])

    room = asyncio.Event()
    serving(scenario, handle, capacity=1, timeout_seconds=0.2)
    assert arrived == ["/handled", "/on-the-edge", "/last"]


def test_rubbish_is_answered_with_400_and_the_server_goes_on():
    async def scenario(session, url, scheduler, node):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(b"\x16\x03\x01 rubbish\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
        await writer.wait_closed()
        assert await post(session, url) == 202

    seen, _ = serving(scenario)
    assert len(seen) == 1


def test_a_shutdown_serves_no_longer_and_loses_nothing_that_was_accepted():
    statuses: list = []

    async def scenario(session, url, scheduler, node):
        async def one(i: int) -> None:
            try:
                statuses.append(await post(session, f"{url}/{i}"))
            except aiohttp.ClientError:
                statuses.append(None)

        requests = [asyncio.create_task(one(i)) for i in range(50)]
        while len(statuses) < 10:
            await asyncio.sleep(0)
        scheduler.shutdown()
        await asyncio.gather(*requests)

    async def handle(request: dict) -> None:
        await asyncio.sleep(0)
        arrived.append(request["path"])

    arrived: list[str] = []
    _, report = serving(scenario, handle, capacity=2)
    assert len(arrived) == len(set(arrived)) == statuses.count(202)
    assert report.left == {}


def test_a_shutdown_that_takes_too_long_turns_waiting_requests_away():
    async def scenario(session, url, scheduler, node):
        assert await post(session, url) == 202
        assert await post(session, url) == 202
        waits = asyncio.create_task(post(session, url))
        await until(lambda: len(node._waiting) == 1)
        scheduler.shutdown()
        assert await waits == 503

    async def handle(request: dict) -> None:
        await asyncio.Event().wait()

    _, report = serving(
        scenario, handle, capacity=1, config=SchedulerConfig(shutdown_timeout_s=0.05), timeout_seconds=30
    )
    assert report.left == {"server:output->seen:input": 1}


def test_a_cancelled_run_closes_the_server():
    async def main():
        node = HttpServerNode("server", host="127.0.0.1")
        scheduler = Scheduler()
        scheduler.register(graph("g", node >> sink(print, name="seen")))
        run = asyncio.create_task(scheduler.run_async())
        port = await node.wait_serving()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)

    asyncio.run(main())


def test_a_port_in_use_fails_the_start_of_that_node_and_leaves_nothing_open():
    async def main():
        first = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
        port = first.sockets[0].getsockname()[1]
        node = HttpServerNode("server", host="127.0.0.1", port=port)
        scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0.01))
        scheduler.register(Subgraph.from_nodes("g", [node]))
        report = await scheduler.run_async()
        first.close()
        await first.wait_closed()
        return report

    report = asyncio.run(main())
    (error,) = report.errors
    assert (error.phase, error.type) == ("on_start", "meridian.nodes.network.errors.NetworkError")
    assert error.message.endswith("node 'server' can't listen: Address already in use")
    assert "127.0.0.1" not in error.message


def test_a_host_that_there_is_not_is_told_without_its_name(monkeypatch):
    async def main():
        async def unknown(*args, **kwargs):
            raise socket.gaierror(socket.EAI_NONAME, "no host secret.example")

        monkeypatch.setattr(asyncio.get_running_loop(), "create_server", unknown)
        scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0.01))
        scheduler.register(Subgraph.from_nodes("g", [HttpServerNode("server", host="secret.example")]))
        return await scheduler.run_async()

    (error,) = asyncio.run(main()).errors
    assert error.message.endswith("node 'server' can't listen: gaierror")
    assert "secret" not in str(error)


def test_the_same_graph_serves_again():
    async def main():
        seen: list = []
        node = HttpServerNode("server", host="127.0.0.1")
        scheduler = Scheduler()
        scheduler.register(graph("g", node >> sink(lambda r: seen.append(r["path"]), name="seen")))
        for path in ("/1", "/2"):
            run = asyncio.create_task(scheduler.run_async())
            url = f"http://127.0.0.1:{await node.wait_serving()}{path}"
            async with aiohttp.ClientSession() as session:
                assert await post(session, url) == 202
            scheduler.shutdown()
            await run
        return seen

    assert asyncio.run(main()) == ["/1", "/2"]


def test_requests_start_traces_of_their_own():
    traces: list[str] = []

    def note(message: Message) -> None:
        traces.append(message.get_trace_id())

    async def scenario(session, url, scheduler, node):
        await post(session, url)
        await post(session, url)

    serving(scenario, note)
    assert len(set(traces)) == 2
