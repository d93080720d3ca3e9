"""A collector for tests: takes what comes over OTLP and HTTP, and reads it."""

from __future__ import annotations

import gzip
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from meridian.observability.events import EventLog

_REQUESTS: dict[str, Any] = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
}


def plain(attributes: Any) -> dict[str, Any]:
    """Attributes as a dict."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


class Collector:
    """Serves until it is closed.

    Attributes:
        url: For ``OTEL_EXPORTER_OTLP_ENDPOINT``.
        status: What it answers.
        asked: How many requests came, by path.
        spans, logs: What came.
        raw: All bytes that came.
        events: Where the adapter tells what it shed.
        hold: Requests are answered only while this is set.
    """

    def __init__(self, events: EventLog) -> None:
        self.events = events
        self.status = 200
        self.asked: Counter[str] = Counter()
        self.spans: list[Any] = []
        self.logs: list[Any] = []
        self.resources: list[dict[str, Any]] = []
        self.metrics: dict[str, Any] = {}
        self.raw = b""
        self.hold = threading.Event()
        self.hold.set()
        self.came = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # its name in `http.server`
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                with collector.came:
                    collector.asked[self.path] += 1
                    collector.came.notify_all()
                collector.hold.wait(60)
                if collector.status == 200:
                    collector._take(self.path, body)
                self.send_response(collector.status)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # its signature in `http.server`
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def _take(self, path: str, body: bytes) -> None:
        request = _REQUESTS[path]()
        request.ParseFromString(body)
        with self.came:
            self.raw += body
            for resource in getattr(
                request, f"resource_{path.rpartition('/')[2].replace('traces', 'spans')}"
            ):
                self.resources.append(plain(resource.resource.attributes))
                for scope in getattr(resource, "scope_spans", ()):
                    self.spans += scope.spans
                for scope in getattr(resource, "scope_logs", ()):
                    self.logs += scope.log_records
                for scope in getattr(resource, "scope_metrics", ()):
                    self.metrics.update((metric.name, metric) for metric in scope.metrics)
            self.came.notify_all()

    def wait_for(self, what: Any) -> None:
        """Wait until ``what()`` is true, a minute at most."""
        with self.came:
            assert self.came.wait_for(what, 60)

    def points(self, name: str) -> dict[tuple[str, ...], float]:
        """Values of a metric, by the values of its labels."""
        metric = self.metrics[name]
        data = getattr(metric, metric.WhichOneof("data")).data_points
        return {
            tuple(plain(point.attributes).values()): (
                point.as_double if point.WhichOneof("value") == "as_double" else point.as_int
            )
            for point in data
        }

    def close(self) -> None:
        """Answer what is held, and stop."""
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(60)
