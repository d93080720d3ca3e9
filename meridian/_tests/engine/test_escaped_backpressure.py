"""A refused emit that escapes the handler: not an error, and its message goes first."""

import pytest

from meridian import Message, MessageType, Node, Port, PortDirection, Scheduler, graph, sink, source, via


class Burst(Node):
    max_parked = 2

    def __init__(self):
        super().__init__("burst", [Port("in", PortDirection.INPUT)], [Port("out", PortDirection.OUTPUT)])

    def _handle_message(self, port, message):
        for n in range(5):
            self.emit("out", Message(MessageType.DATA, (message.payload, n)))


@pytest.mark.req("V4")
def test_the_message_of_an_escaped_refusal_is_delivered_before_what_the_node_emits_next():
    burst, seen = Burst(), []
    scheduler = Scheduler()
    scheduler.register(
        graph(
            "g", source("ab", name="s") >> burst, burst >> via(capacity=1) >> sink(seen.append, name="seen")
        )
    )
    scheduler.run()
    assert seen == [
        (name, n) for name in "ab" for n in range(4)
    ]  # one on the edge, two parked, the refused one
    assert scheduler.report().errors_total == 0
