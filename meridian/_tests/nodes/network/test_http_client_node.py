"""HttpClientNode: v1's behaviour by plain calls, and in a run beside the loop, in order and bounded."""

from __future__ import annotations

import asyncio
import json
import socket
import threading

import pytest

from meridian import (
    Message,
    MessageType,
    Node,
    Port,
    PortDirection,
    Scheduler,
    Subgraph,
    graph,
    sink,
    source,
    via,
)
from meridian.nodes.base import ErrorPolicy, NodeConfig
from meridian.nodes.network import HttpClientNode, HttpError
from meridian.testing import NodeTestHarness

pytestmark = pytest.mark.req("V11")

EMIT = NodeConfig(error_policy=ErrorPolicy.EMIT_ERROR)
RAISE = NodeConfig(error_policy=ErrorPolicy.RAISE_EXCEPTION)
CANARY = "canary-7f3a"


def ask(url, payload, config=RAISE, **settings):
    harness = NodeTestHarness(HttpClientNode("client", url, config=config, **settings))
    harness.send_message("input", payload)
    return harness.get_emitted_messages("output")


def failure(url, payload, **settings):
    with pytest.raises(HttpError) as caught:
        ask(url, payload, **settings)
    return caught.value


# ---- requests ---------------------------------------------------------------------------------------------------


@pytest.mark.v1("L11")
def test_the_response_has_been_emitted_when_on_message_returns(script):
    server = script(script.response(b"hello", "200 OK", "X-Kind: test"))
    (message,) = ask(server.url, {"url": "/a?b=c"})
    assert message.type is MessageType.DATA
    assert message.payload == {
        "status": 200,
        "body": "hello",
        "headers": {"Content-Length": "5", "X-Kind": "test"},
    }
    assert server.requests[0][0].startswith("GET /a?b=c HTTP/1.1\r\n")


def test_a_relative_url_is_joined_to_the_base(script):
    server = script(*[script.response()] * 3)
    for url in ("items/7", "/items/8", server.url + "/items/9"):
        ask(server.url + "/api/", {"url": url})
    assert [head.split()[1] for head, _ in server.requests] == ["/api/items/7", "/items/8", "/items/9"]


def test_without_a_url_the_base_is_asked(script):
    server = script(script.response())
    ask(server.url + "/ping", {})
    assert server.requests[0][0].startswith("GET /ping ")


def test_without_a_base_the_url_is_taken_as_it_is(script):
    server = script(script.response())
    ask(None, {"url": server.url + "/x"})
    assert server.requests[0][0].startswith("GET /x ")


def test_bytes_are_sent_as_they_are(script):
    server = script(script.response())
    ask(server.url, {"method": "post", "body": b"\x00\xff"})
    head, body = server.requests[0]
    assert head.startswith("POST ")
    assert "content-type: application/octet-stream" in head.lower()
    assert body == b"\x00\xff"


@pytest.mark.parametrize("body", ["text", {"a": [1, None]}, [1, 2], 3, False])
def test_any_other_body_is_sent_as_json(script, body):
    server = script(script.response())
    ask(server.url, {"method": "PUT", "body": body})
    head, sent = server.requests[0]
    assert "content-type: application/json" in head.lower()
    assert json.loads(sent) == body


def test_headers_are_sent_and_a_content_type_of_ones_own_stays(script):
    server = script(script.response())
    ask(
        server.url,
        {"method": "POST", "headers": {"X-Number": 7, "content-type": "application/x-mine"}, "body": {}},
    )
    head = server.requests[0][0].lower()
    assert "x-number: 7" in head
    assert "content-type: application/x-mine" in head
    assert "application/json" not in head


@pytest.mark.parametrize("type", [MessageType.CONTROL, MessageType.ERROR])
def test_control_and_error_are_forwarded(type):
    node = HttpClientNode("client", "http://127.0.0.1:1")
    harness = NodeTestHarness(node)
    message = Message(type, "x")
    node.on_message("input", message)
    assert harness.get_emitted_messages("output") == [message]
    assert harness.get_emitted_messages("output")[0] is message


def test_messages_on_other_ports_are_ignored():
    harness = NodeTestHarness(HttpClientNode("client", "http://127.0.0.1:1"))
    harness.send_message("elsewhere", {})
    harness.send_control("elsewhere", {})
    assert harness.get_emitted_messages("output") == []


def test_ports_have_the_names_given():
    node = HttpClientNode("client", None, "in", "out", 5)
    assert list(node.port_map()) == ["in", "out"]


# ---- responses --------------------------------------------------------------------------------------------------


@pytest.mark.v1("D65")
@pytest.mark.parametrize("name", ["Content-Type", "content-type", "CONTENT-TYPE"])
def test_the_charset_of_the_response_is_respected(script, name):
    server = script(
        script.response("é€".encode("cp1252"), "200 OK", f"{name}: text/plain; charset=windows-1252")
    )
    (message,) = ask(server.url, {})
    assert message.payload["body"] == "é€"


@pytest.mark.parametrize("charset", ["", "; charset=nobody-knows", "; charset=base64", "; charset=undefined"])
def test_without_a_usable_charset_the_body_is_utf_8(script, charset):
    server = script(script.response("é€".encode() + b"\xff", "200 OK", f"Content-Type: text/plain{charset}"))
    (message,) = ask(server.url, {})
    assert message.payload["body"] == "é€\N{REPLACEMENT CHARACTER}"


def test_headers_that_come_twice_are_joined(script):
    server = script(script.response(b"", "200 OK", "Vary: a", "Vary: b"))
    (message,) = ask(server.url, {})
    assert message.payload["headers"]["Vary"] == "a, b"


@pytest.mark.v1("D54")
def test_a_response_keeps_trace_headers_and_metadata_of_its_request(script):
    server = script(script.response())
    node = HttpClientNode("client", server.url)
    harness = NodeTestHarness(node)
    message = Message(MessageType.DATA, {}, {"m": 1}, {"trace_id": "t", "tenant": "x"})
    node.on_message("input", message)
    (answer,) = harness.get_emitted_messages("output")
    assert answer.get_trace_id() == "t"
    assert answer.headers["tenant"] == "x"
    assert answer.metadata == {"m": 1}
    assert answer.get_parent_id() == message.get_id()


def test_ten_megabytes_arrive_whole(script):
    body = b"0123456789" * (1 << 20)
    server = script(script.response(body))
    (message,) = ask(server.url, {})
    assert message.payload["body"] == body.decode()


def test_a_chunked_body_is_put_together(script):
    server = script(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    (message,) = ask(server.url, {})
    assert message.payload["body"] == "abcde"


def test_a_body_without_length_ends_with_the_connection(script):
    server = script(b"HTTP/1.0 200 OK\r\n\r\nabc")
    (message,) = ask(server.url, {})
    assert message.payload["body"] == "abc"


def test_head_has_no_body(script):
    server = script(script.response(b"", length=42))
    (message,) = ask(server.url, {"method": "HEAD"})
    assert message.payload["body"] == ""


def test_a_redirect_is_followed(script):
    server = script(script.response(b"", "302 Found", "Location: /there"), script.response(b"there"))
    (message,) = ask(server.url, {"headers": {"Authorization": "secret"}})
    assert message.payload["body"] == "there"
    assert "authorization: secret" in server.requests[1][0].lower()


def test_credentials_do_not_follow_a_redirect_to_another_origin(script):
    other = script(script.response(b"other"))
    server = script(script.response(b"", "302 Found", f"Location: {other.url}/x"))
    headers = {"Authorization": "secret", "Cookie": "secret", "X-Kept": "yes"}
    (message,) = ask(server.url, {"headers": headers})
    assert message.payload["body"] == "other"
    assert "secret" not in other.requests[0][0]
    assert "x-kept: yes" in other.requests[0][0].lower()


def test_a_status_below_400_is_a_response(script):
    server = script(script.response(b"", "304 Not Modified"))
    (message,) = ask(server.url, {})
    assert message.payload["status"] == 304


# ---- what goes wrong --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_a_status_from_400_up_is_a_failure(script, status):
    server = script(script.response(CANARY.encode(), f"{status} {CANARY}"))
    error = failure(server.url, {"url": f"/{CANARY}?token={CANARY}"})
    assert error.status == status
    assert str(error) == f"HTTP request failed: status {status}"


def test_an_emitted_error_names_neither_the_url_nor_the_body(script):
    server = script(script.response(CANARY.encode(), f"404 {CANARY}"))
    (message,) = ask(server.url, {"url": f"/{CANARY}", "method": "POST", "body": CANARY}, EMIT)
    assert message.type is MessageType.ERROR
    assert message.payload["error_type"] == "HttpError"
    assert message.payload["error_message"] == "HTTP request failed: status 404"
    assert CANARY not in repr(message.payload)


@pytest.mark.v1("D53")
def test_a_failure_that_is_logged_says_what_failed_and_no_more(script, log, records):
    server = script(script.response(b"", "500 Oops"))
    assert ask(server.url, {"url": f"/{CANARY}"}, NodeConfig()) == []
    (record,) = [record for record in records() if record["event"] == "function_node.error"]
    assert record["error_type"].endswith("HttpError")
    assert record["error_msg"] == "HTTP request failed: status 500"
    assert CANARY not in log.getvalue()


def refused_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_refused_connection_is_a_failure():
    error = failure(f"http://127.0.0.1:{refused_port()}", {})
    assert str(error) == "HTTP request failed: ConnectionRefusedError"
    assert error.status is None


def test_a_body_that_ends_too_early_is_a_failure(script):
    server = script(script.response(b"abc", length=10))
    assert str(failure(server.url, {})) == "HTTP request failed: the response ended too early"


def test_chunks_that_end_too_early_are_a_failure(script):
    server = script(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")
    assert str(failure(server.url, {})) == "HTTP request failed: the response ended too early"


def test_a_connection_that_is_reset_in_the_middle_is_a_failure(script):
    def reset(connection):
        connection.sendall(script.response(b"abc", length=1000))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    assert "HTTP request failed: " in str(failure(script(reset).url, {}))


def test_a_server_that_hangs_up_at_once_is_a_failure(script):
    assert str(failure(script(b"").url, {})) == "HTTP request failed: RemoteDisconnected"


def test_a_server_that_speaks_something_else_is_a_failure(script):
    assert str(failure(script(b"SSH-2.0-OpenSSH\r\n").url, {})) == "HTTP request failed: BadStatusLine"


def test_a_server_that_says_nothing_is_given_up_after_the_timeout(script):
    over = threading.Event()
    server = script(lambda connection: over.wait(10))
    try:
        error = failure(server.url, {}, timeout_seconds=0.05)
    finally:
        over.set()
    assert str(error) == "HTTP request failed: timed out after 0.05 s"


def test_a_server_that_drips_is_given_up_after_the_timeout(script):
    over = threading.Event()

    def drip(connection):
        connection.sendall(script.response(b"", length=1_000_000))
        while not over.wait(0.01):
            connection.sendall(b".")

    server = script(drip)
    try:
        error = failure(server.url, {}, timeout_seconds=0.2)
    finally:
        over.set()
    assert str(error) == "HTTP request failed: timed out after 0.2 s"


def test_a_body_beyond_the_bound_is_a_failure(script):
    server = script(script.response(b"x" * 11), script.response(b"x" * 10))
    error = failure(server.url, {}, max_body=10)
    assert str(error) == "HTTP request failed: the body of the response is longer than 10 bytes"
    assert ask(server.url, {}, max_body=10)[0].payload["body"] == "x" * 10


def test_a_redirect_in_a_circle_is_a_failure(script):
    server = script(*[script.response(b"", "302 Found", "Location: /")] * 30)
    assert failure(server.url, {"url": "/"}).status == 302


def test_a_redirect_to_another_scheme_is_a_failure(script):
    for location in ("file:///etc/passwd", "ftp://127.0.0.1/x"):
        server = script(script.response(b"", "302 Found", f"Location: {location}"))
        assert "HTTP request failed: " in str(failure(server.url, {}))


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (CANARY, "its payload is <str>, a dict with a url is needed"),
        ({}, "it has no url"),
        ({"url": 7}, "it has no url"),
        ({"url": "/relative"}, "its url is not an absolute one of http or https"),
        ({"url": f"file:///{CANARY}"}, "its url is not an absolute one of http or https"),
        ({"url": f"ftp://{CANARY}/x"}, "its url is not an absolute one of http or https"),
        ({"url": "http://[::1"}, "its url can't be read"),
        ({"url": f"http://h/{CANARY} x"}, "its url contains a space or a control character"),
        ({"url": f"http://h/\x01{CANARY}"}, "its url contains a space or a control character"),
        ({"url": "http://h", "method": "GET /\r\n"}, "its method is not a word"),
        ({"url": "http://h", "method": 7}, "its method is not a word"),
        ({"url": "http://h", "headers": [1]}, "its headers are <list>, a dict is needed"),
        ({"url": "http://h", "headers": {"A": f"b\r\nX: {CANARY}"}}, "a header contains CR, LF or NUL"),
        ({"url": "http://h", "headers": {"A": "b\nX"}}, "a header contains CR, LF or NUL"),
        ({"url": "http://h", "headers": {"A\r\nB": "c"}}, "the name of a header is not a word"),
        ({"url": "http://h", "headers": {7: "c"}}, "the name of a header is not a word"),
        (
            {"url": "http://h", "body": {CANARY: object()}},
            "its body is neither bytes nor something that JSON can say",
        ),
    ],
)
def test_a_payload_that_describes_no_request_is_a_failure_without_its_contents(payload, text):
    error = failure(None, payload)
    assert str(error) == f"HTTP request failed: {text}"
    assert CANARY not in str(error)


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"timeout_seconds": 0}, ValueError, "'c': timeout_seconds must be above 0, got 0"),
        ({"timeout_seconds": "1"}, TypeError, "'c': timeout_seconds must be a number, got '1'"),
        (
            {"timeout_seconds": float("inf")},
            ValueError,
            "'c': timeout_seconds must be a finite number, got inf",
        ),
        ({"max_concurrent": 0}, ValueError, "'c': max_concurrent must be at least 1, got 0"),
        ({"max_body": 1.5}, TypeError, "'c': max_body must be a whole number, got 1.5"),
        ({"base_url": 7}, TypeError, "'c': base_url must be text, got 7"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(settings, error, text):
    with pytest.raises(error) as caught:
        HttpClientNode("c", **settings)
    assert text in str(caught.value)


# ---- in a run ---------------------------------------------------------------------------------------------------


def urls(n):
    return [{"url": f"/{i}"} for i in range(n)]


@pytest.mark.parametrize("concurrent", [1, 3])
def test_a_run_answers_every_request_once_and_in_order(script, concurrent):
    server = script(*[script.response(str(i).encode()) for i in range(20)])
    seen = []
    client = HttpClientNode("client", server.url, max_concurrent=concurrent)
    made = graph(
        "g",
        source(urls(20)) >> via(capacity=2) >> client >> via(capacity=1) >> sink(seen.append, name="seen"),
    )
    scheduler = Scheduler()
    scheduler.register(made)
    scheduler.run()
    assert len(server.requests) == 20
    bodies = [response["body"] for response in seen]
    if concurrent == 1:
        assert bodies == [str(i) for i in range(20)]
        assert [head.split()[1] for head, _ in server.requests] == [f"/{i}" for i in range(20)]
    else:
        assert sorted(map(int, bodies)) == list(range(20))
    assert scheduler.report().reason == "finished"


@pytest.mark.v1("D65")
def test_a_request_does_not_hold_up_other_nodes(script):
    others = threading.Event()
    server = script(
        lambda connection: connection.sendall(script.response(b"late" if others.wait(10) else b"held up"))
    )
    seen = []

    def other(n: int) -> None:
        seen.append(n)
        if n == 99:
            others.set()

    client = HttpClientNode("client", server.url)
    made = graph(
        "g",
        source(urls(1), name="urls") >> client >> sink(lambda r: seen.append(r["body"]), name="answers"),
        source(range(100), name="numbers") >> sink(other, name="other"),
    )
    scheduler = Scheduler()
    scheduler.register(made)
    scheduler.run()
    assert seen == [*range(100), "late"]


def test_while_a_request_is_under_way_the_input_waits(script):
    ahead = []
    pulled = answered = 0

    def items():
        nonlocal pulled
        for url in urls(20):
            pulled += 1
            yield url

    def look(connection):
        nonlocal answered
        ahead.append(pulled - answered)
        answered += 1
        connection.sendall(script.response())

    server = script(*[look] * 20)
    made = graph(
        "g",
        source(items, name="urls") >> via(capacity=1) >> HttpClientNode("client", server.url)
        >> sink(lambda r: None, name="seen"),
    )  # fmt: skip
    scheduler = Scheduler()
    scheduler.register(made)
    scheduler.run()
    assert len(ahead) == 20
    assert max(ahead) <= 4  # one under way, one on the edge, one that waits for room, one answered just now


def test_control_keeps_its_place_behind_a_response(script):
    class Feed(Node):
        regular_ticks = False

        def __init__(self):
            super().__init__("feed", [], [Port("out", PortDirection.OUTPUT)])

        def on_start(self):
            self.emit("out", Message(MessageType.DATA, {"url": "/"}))
            self.emit("out", Message(MessageType.ERROR, "error"))

        def _handle_tick(self):
            pass

        def has_pending(self):
            return False

    server = script(script.response(b"answer"))
    seen = []

    def note(message: Message) -> None:
        seen.append((message.type, message.payload))

    made = graph("g", Feed() >> HttpClientNode("client", server.url) >> sink(note, name="seen"))
    scheduler = Scheduler()
    scheduler.register(made)
    scheduler.run()
    assert [type for type, _ in seen] == [MessageType.DATA, MessageType.ERROR]


def run_with_policy(url, config, payloads):
    seen = []

    def note(message: Message) -> None:
        seen.append((message.type, message.payload))

    client = HttpClientNode("client", url, config=config)
    scheduler = Scheduler()
    scheduler.register(graph("g", source(payloads) >> client >> sink(note, name="seen")))
    scheduler.run()
    return seen, scheduler.report()


@pytest.mark.parametrize("policy", list(ErrorPolicy))
def test_in_a_run_a_failure_follows_the_policy_in_its_place(script, policy):
    server = script(script.response(b"1"), script.response(b"", "500 Oops"), script.response(b"3"))
    payloads = [{"url": "/1"}, {"url": "/2"}, "no request", {"url": "/3"}]
    seen, report = run_with_policy(server.url, NodeConfig(error_policy=policy), payloads)
    texts = [payload.get("body", payload.get("error_message")) for _, payload in seen]
    if policy is ErrorPolicy.EMIT_ERROR:
        assert texts == [
            "1",
            "HTTP request failed: status 500",
            "HTTP request failed: its payload is <str>, a dict with a url is needed",
            "3",
        ]
    else:
        assert texts == ["1", "3"]
    assert report.errors_total == 2


def test_a_shutdown_waits_for_the_response(script):
    scheduler = Scheduler()

    def reply(connection):
        scheduler.shutdown()
        connection.sendall(script.response(b"in time"))

    server = script(reply)
    seen = []
    scheduler.register(
        graph(
            "g",
            source(urls(1))
            >> HttpClientNode("client", server.url)
            >> sink(lambda r: seen.append(r["body"]), name="seen"),
        )
    )
    scheduler.run()
    assert seen == ["in time"]
    assert scheduler.report().reason in ("shutdown", "finished")


def test_a_cancelled_run_breaks_off_the_request_and_counts_it(script):
    asked, over = threading.Event(), threading.Event()

    def reply(connection):
        asked.set()
        connection.recv(1)  # until the client hangs up
        over.set()

    server = script(reply)
    scheduler = Scheduler()
    scheduler.register(
        graph("g", source(urls(3)) >> HttpClientNode("client", server.url) >> sink(print, name="seen"))
    )

    async def main():
        run = asyncio.create_task(scheduler.run_async())
        await asyncio.to_thread(asked.wait, 10)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(main())
    assert over.wait(10)
    (error,) = scheduler.report().errors
    assert "the run stopped before there was a response" in error.message


def test_a_graph_can_run_again(script):
    server = script(script.response(b"1"), script.response(b"2"))
    seen = []
    scheduler = Scheduler()
    scheduler.register(
        graph(
            "g",
            source(lambda: urls(1), name="urls") >> HttpClientNode("client", server.url)
            >> sink(lambda r: seen.append(r["body"]), name="seen"),
        )
    )  # fmt: skip
    scheduler.run()
    scheduler.run()
    assert seen == ["1", "2"]


def test_a_response_that_leads_nowhere_costs_nobody_anything(script):
    server = script(*[script.response()] * 5)
    made = Subgraph.from_nodes("g", [source(urls(5), name="urls"), HttpClientNode("client", server.url)])
    made.connect(("urls", "output"), ("client", "input"))
    scheduler = Scheduler()
    scheduler.register(made)
    scheduler.run()
    assert len(server.requests) == 5
    assert scheduler.report().reason == "finished"
