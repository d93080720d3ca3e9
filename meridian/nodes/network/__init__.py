"""Nodes that talk to other programs: over HTTP, WebSockets and queues.

Each can also pretend to, as in v1. What is real needs an extra (``http`` for servers and WebSockets, ``redis`` for queues in
Redis), which is imported where a node says that it is to be real.
"""

from meridian.nodes.network.errors import HttpError, NetworkError
from meridian.nodes.network.http_client import HttpClientNode
from meridian.nodes.network.http_server import HttpServerNode
from meridian.nodes.network.queues import MessageQueueNode
from meridian.nodes.network.redis_stream import RedisSettings
from meridian.nodes.network.websocket import WebSocketNode

__all__ = [
    # nodes
    "HttpClientNode",
    "HttpServerNode",
    "MessageQueueNode",
    "WebSocketNode",
    # settings
    "RedisSettings",
    # what goes wrong
    "HttpError",
    "NetworkError",
]
