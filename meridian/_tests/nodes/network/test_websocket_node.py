"""WebSocketNode: simulated as in v1, and over a real socket."""

from __future__ import annotations

import asyncio
import threading

import pytest
from aiohttp import WSMsgType, web

from meridian import Message, MessageType, Scheduler, SchedulerConfig, Subgraph, graph, sink, source, via
from meridian.core.errors import BackpressureError
from meridian.nodes.base import ErrorPolicy, NodeConfig
from meridian.nodes.network import WebSocketNode
from meridian.testing import NodeTestHarness, simulate

pytestmark = pytest.mark.req("V11")

CANARY = "canary-91bd"


# ---- simulated --------------------------------------------------------------------------------------------------


def test_inputs_are_recorded_and_incoming_ones_emitted():
    node = WebSocketNode("socket", "ws://example.org", "in", "out", NodeConfig())
    harness = NodeTestHarness(node)
    harness.send_message("in", 1)
    harness.send_message("in", {"a": 2})
    harness.send_message("elsewhere", 3)
    node.simulate_incoming("x")
    assert list(node.sent) == [1, {"a": 2}]
    (message,) = harness.get_emitted_messages("out")
    assert (message.type, message.payload) == (MessageType.DATA, "x")
    assert node.url == "ws://example.org"


def test_only_so_many_inputs_are_remembered():
    node = WebSocketNode("socket", "ws://example.org")
    harness = NodeTestHarness(node)
    for n in range(10_001):
        harness.send_message("input", n)
    assert (node.sent[0], len(node.sent)) == (1, 10_000)


@pytest.mark.parametrize("connect", [False, True])
@pytest.mark.parametrize("type", [MessageType.CONTROL, MessageType.ERROR])
def test_control_and_error_are_forwarded(type, connect):
    node = WebSocketNode("socket", "ws://127.0.0.1:1", connect=connect)
    harness = NodeTestHarness(node)
    message = Message(type, "x")
    node.on_message("input", message)
    (forwarded,) = harness.get_emitted_messages("output")
    assert forwarded is message
    assert list(node.sent) == []


def test_hooks_of_a_simulated_socket_are_plain_calls():
    node = WebSocketNode("socket", "whatever")
    harness = NodeTestHarness(node)
    assert node.on_start() is None
    harness.trigger_tick()
    assert node.on_drain() is None
    assert node.on_stop() is None


def test_a_run_with_a_simulated_socket_ends_as_one_with_endless_tickers():
    ran = simulate(
        lambda: graph("g", WebSocketNode("socket", "ws://x") >> sink(print, name="seen")),
        config=SchedulerConfig(shutdown_timeout_s=3),
    )
    assert ran.report.reason == "quiet"


@pytest.mark.v1("D52")
def test_what_is_simulated_in_another_thread_all_arrives():
    seen: list[int] = []
    ready = threading.Event()

    class Started(WebSocketNode):
        def on_start(self):
            super().on_start()
            ready.set()

    node = Started("socket", "ws://x")
    node.max_parked = 4

    def note(n: int) -> None:
        seen.append(n)
        if n == 499:
            scheduler.shutdown()

    def incoming() -> None:
        ready.wait(10)
        for n in range(500):
            while True:
                try:
                    node.simulate_incoming(n)
                    break
                except BackpressureError:
                    threading.Event().wait(0.001)  # not accepted: again

    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=30))
    scheduler.register(graph("g", node >> via(capacity=1) >> sink(note, name="seen")))
    thread = threading.Thread(target=incoming)
    thread.start()
    scheduler.run()
    thread.join()
    assert seen == list(range(500))


# ---- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"url": "file:///x"}, ValueError, "node 'w': connect=True needs a url of ws:// or wss://"),
        ({"buffer": 0}, ValueError, "'w': buffer must be at least 1, got 0"),
        ({"max_frame": "1"}, TypeError, "'w': max_frame must be a whole number, got '"),
        ({"heartbeat_s": 0}, ValueError, "'w': heartbeat_s must be above 0, got 0"),
        ({"first_wait_s": -1}, ValueError, "'w': first_wait_s must be above 0, got -1"),
        ({"longest_wait_s": 0}, ValueError, "'w': longest_wait_s must be above 0, got 0"),
        ({"max_attempts": 0}, ValueError, "'w': max_attempts must be at least 1, got 0"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(settings, error, text):
    with pytest.raises(error) as caught:
        WebSocketNode("w", **{"url": "ws://x", "connect": True, **settings})
    assert text in str(caught.value)


def test_a_real_connection_needs_a_run():
    with pytest.raises(RuntimeError, match="node 'w' has a real connection, which only works in a run"):
        WebSocketNode("w", "ws://x", connect=True).on_start()


# ---- real -------------------------------------------------------------------------------------------------------


class Peer:
    """The other side: handles each connection as a coroutine of the test says."""

    def __init__(self, handle, port: int = 0) -> None:
        self._handle = handle
        self._port = port
        self.connections = 0

    async def __aenter__(self) -> Peer:
        async def handle(request: web.BaseRequest) -> web.WebSocketResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            self.connections += 1
            await self._handle(self.connections, socket, request)
            return socket

        self._runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self.port = self._runner.addresses[0][1]
        self.url = f"ws://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._runner.cleanup()


def talk(handle, items=(), handler=None, capacity=64, config=None, stop=None, **settings):
    """Run source >> socket >> sink against a peer; return what arrived, the report and the peer."""
    seen: list = []

    async def main():
        async with Peer(handle) as peer:
            node = WebSocketNode(
                "socket", peer.url, connect=True, config=config, first_wait_s=0.001, **settings
            )
            scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=10))
            target = sink(handler or seen.append, name="seen")
            scheduler.register(
                graph("g", source(items) >> via(capacity=2) >> node >> via(capacity=capacity) >> target)
            )
            if stop is not None:
                stop.append(scheduler.shutdown)
            async with asyncio.timeout(20):
                return await scheduler.run_async(), peer

    report, peer = asyncio.run(main())
    return seen, report, peer


async def take(socket, n):
    return [(await socket.receive()).data for _ in range(n)]


def test_inputs_are_sent_text_and_bytes_as_they_are_and_the_rest_as_json():
    got: list = []

    async def handle(n, socket, request):
        got.extend(await take(socket, 5))
        await socket.close()

    _, report, _ = talk(handle, ["text", b"\x00", bytearray(b"\x01"), {"a": [1, None]}, 7])
    assert got == ["text", b"\x00", b"\x01", '{"a": [1, null]}', "7"]
    assert report.reason == "finished"
    assert report.errors_total == 0


def test_incoming_frames_are_emitted_as_text_or_bytes():
    async def handle(n, socket, request):
        await socket.send_str("{no json")
        await socket.send_bytes(b"\xff")
        await socket.send_str("")
        await socket.close()

    seen, report, peer = talk(handle)
    assert seen == ["{no json", b"\xff", ""]
    assert peer.connections == 1  # a closure in good order is the end
    assert report.reason == "finished"


def test_headers_are_sent_along():
    got: list = []

    async def handle(n, socket, request):
        got.append(request.headers["Authorization"])
        await socket.close()

    talk(handle, headers={"Authorization": "Bearer x"})
    assert got == ["Bearer x"]


def test_a_thousand_messages_go_and_come_in_order_with_small_buffers():
    async def handle(n, socket, request):
        for _ in range(1000):
            await socket.send_str((await socket.receive()).data)
        await socket.close()

    seen, _, _ = talk(handle, map(str, range(1000)), capacity=1, buffer=3)
    assert seen == [str(n) for n in range(1000)]


def test_while_the_edge_is_full_nothing_is_read():
    sent = 0

    async def handle(n, socket, request):
        nonlocal sent
        for _ in range(200):
            await socket.send_bytes(bytes(1 << 20))
            sent += 1
        await socket.close()

    async def slow(frame: bytes) -> None:
        behind.append(sent - len(behind))
        if len(behind) < 20:  # long enough for the peer to run ahead as far as it can
            await asyncio.sleep(0.005)

    behind: list[int] = []
    talk(handle, handler=slow, capacity=1)
    assert len(behind) == 200
    assert max(behind) < 60  # what sockets and aiohttp buffer; never all of it


def test_a_connection_that_breaks_is_made_anew_and_what_was_not_sent_is_sent_then():
    got: list = []

    async def handle(n, socket, request):
        if n == 1:
            got.extend(await take(socket, 2))
            request.transport.abort()
            return
        await socket.send_str("hello again")
        while len(set(got)) < 6:
            frame = await socket.receive()
            if frame.type is not WSMsgType.TEXT:
                return
            got.append(frame.data)
        await socket.close()

    ready = asyncio.Event()

    async def items():
        yield "0"
        yield "1"
        await ready.wait()
        for n in range(2, 6):
            yield str(n)

    def again(text: str) -> None:
        assert text == "hello again"
        ready.set()

    _, report, peer = talk(handle, items, handler=again)
    assert got == [str(n) for n in range(6)]
    assert peer.connections == 2
    assert report.reason == "finished"


@pytest.mark.parametrize("code", [1001, 1011])
def test_a_closure_with_another_code_is_no_end(code):
    async def handle(n, socket, request):
        await socket.send_str(str(n))
        await socket.close(code=code if n < 3 else 1000)

    seen, _, peer = talk(handle)
    assert seen == ["1", "2", "3"]
    assert peer.connections == 3


def test_after_a_closure_in_good_order_there_is_a_new_connection_for_what_is_to_be_sent():
    got: list = []

    async def handle(n, socket, request):
        got.extend(await take(socket, 1))
        await socket.close()

    class Noticing(WebSocketNode):
        async def _talk(self):
            await super()._talk()
            noticed.set()

    async def items():
        yield "a"
        await noticed.wait()
        yield "b"

    async def main():
        async with Peer(handle) as peer:
            node = Noticing("socket", peer.url, connect=True)
            scheduler = Scheduler()
            scheduler.register(graph("g", source(items) >> node >> sink(print, name="seen")))
            await scheduler.run_async()
            return peer.connections

    noticed = asyncio.Event()
    assert asyncio.run(main()) == 2
    assert got == ["a", "b"]


def test_a_frame_beyond_the_bound_breaks_the_connection():
    async def handle(n, socket, request):
        await socket.send_str("x" * (1001 if n == 1 else 1000))
        if n == 1:
            await socket.receive()  # until the other side closes
        await socket.close()

    seen, _, peer = talk(handle, max_frame=1000)
    assert [len(text) for text in seen] == [1000]
    assert peer.connections == 2


def test_a_refused_connection_is_tried_so_often_with_growing_waits_then_given_up(records):
    async def main():
        async with Peer(None) as peer:
            url = peer.url
        node = WebSocketNode(
            "socket", url, connect=True, first_wait_s=0.001, longest_wait_s=0.003, max_attempts=4
        )
        scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0.05))
        scheduler.register(Subgraph.from_nodes("g", [node]))
        return url, await scheduler.run_async()

    url, report = asyncio.run(main())
    lost = [record for record in records() if record["event"] == "network.connection_lost"]
    assert [(record["attempt"], record["retry_in_s"]) for record in lost] == [
        (1, 0.001),
        (2, 0.002),
        (3, 0.003),
    ]
    assert [error.message for error in report.errors] == [
        "no connection after 4 attempts: ClientConnectorError"
    ]
    assert report.reason == "quiet"
    assert not any(url in str(record) for record in records())


def test_what_cannot_be_sent_follows_the_policy_after_giving_up():
    async def main():
        async with Peer(None) as peer:
            url = peer.url
        seen: list = []

        def note(message: Message) -> None:
            seen.append((message.type, message.payload["error_message"]))

        node = WebSocketNode(
            "socket", url, connect=True, first_wait_s=0.001, max_attempts=2,
            config=NodeConfig(error_policy=ErrorPolicy.EMIT_ERROR),
        )  # fmt: skip
        scheduler = Scheduler()
        scheduler.register(graph("g", source([CANARY] * 200) >> node >> sink(note, name="seen")))
        return seen, await scheduler.run_async()

    seen, report = asyncio.run(main())
    assert seen == [(MessageType.ERROR, "no connection after 2 attempts: ClientConnectorError")] * 200
    assert report.errors_total == 201
    assert CANARY not in repr(report)


def test_what_nothing_can_be_sent_for_follows_the_policy_and_the_next_one_is_sent(log):
    got: list = []

    async def handle(n, socket, request):
        got.extend(await take(socket, 1))
        await socket.close()

    _, report, _ = talk(handle, [{CANARY: object()}, "next"])
    assert got == ["next"]
    assert [error.message for error in report.errors] == [
        "<dict> is neither text, bytes nor something that JSON can say"
    ]
    assert CANARY not in log.getvalue()


def test_a_shutdown_sends_what_is_in_the_buffer_then_closes():
    got: list = []
    stop: list = []
    codes: list = []

    async def handle(n, socket, request):
        first = await socket.receive()
        got.append(first.data)
        stop[0]()
        async for frame in socket:
            got.append(frame.data)
        codes.append(socket.close_code)

    _, report, _ = talk(handle, map(str, range(50)), stop=stop, buffer=64)
    assert got == [str(n) for n in range(len(got))]
    socket_in = next(edge for edge in report.edges if "socket:input" in edge.id)
    assert len(got) == socket_in.delivered
    assert codes == [1000]
    assert report.reason == "shutdown"


def test_a_cancelled_run_closes_the_connection_and_counts_what_was_not_sent():
    async def main():
        connected, gone = asyncio.Event(), asyncio.Event()

        async def handle(n, socket, request):
            connected.set()
            await socket.receive()
            gone.set()

        async with Peer(handle) as peer:
            node = WebSocketNode("socket", peer.url, connect=True)
            scheduler = Scheduler()
            scheduler.register(Subgraph.from_nodes("g", [node]))
            run = asyncio.create_task(scheduler.run_async())
            await connected.wait()
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            await gone.wait()

    asyncio.run(main())


def test_connections_that_break_at_once_again_count_as_failures_in_a_row():
    async def handle(n, socket, request):
        await socket.close(code=1011)

    _, report, peer = talk(handle, max_attempts=5)
    assert peer.connections == 5
    assert [error.message for error in report.errors] == [
        "no connection after 5 attempts: closed with code 1011"
    ]
