"""What the network nodes need is loaded when one of them needs it."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.req("V11")

LIST = """
import sys
from meridian.nodes.network import HttpClientNode, HttpServerNode, MessageQueueNode, WebSocketNode
HttpClientNode("a"), HttpServerNode("b"), WebSocketNode("c", "ws://x"), MessageQueueNode("d", "redis", {}, "q")
heavy = {"aiohttp", "redis", "urllib.request", "http.client", "meridian.nodes.network.http_exchange"}
print(sorted(heavy & set(sys.modules)))
"""


def test_neither_the_import_nor_a_simulated_node_loads_what_only_real_ones_need():
    ran = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", LIST],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ran.stdout == "[]\n"
