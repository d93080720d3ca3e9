"""For Prometheus: a collector for prometheus-client, and an endpoint that is scraped.

Both read when they are asked and count nothing themselves. What is exported is the `catalogue` of runs, and what the program's own
`PrometheusMetrics` hold if that is the provider in force. Needs the extra ``prometheus``.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
import weakref
from collections.abc import Iterable, Iterator
from importlib.resources import files
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from meridian.core.errors import MeridianError
from meridian.nodes.extras import load
from meridian.observability.adapters.catalogue import CATALOGUE, Metric, Reader, exposition_name
from meridian.observability.logging import get_logger
from meridian.observability.metrics import PrometheusMetrics, collector_failed, get_metrics
from meridian.runtime.threads import expect_more

if TYPE_CHECKING:
    from types import TracebackType

    from meridian.core.scheduler import Scheduler
    from meridian.observability.exposition import Family

__all__ = ["MeridianCollector", "MetricsServeError", "MetricsServer", "grafana_dashboard", "serve_metrics"]

VARIABLE = "MERIDIAN_METRICS_PORT"
"""The endpoint is opened at this port during each run; 0 picks a free one."""

PATH = "/metrics"

MOST_SCRAPERS = 16
"""So many are served at a time; others are turned away."""

PATIENCE_S = 10.0
"""A scraper that hasn't sent its request, or taken a part of its answer, after so many seconds is let go."""

_KINDS = {"counter": "counter", "gauge": "gauge", "info": "info", "quantiles": "summary"}
_OWN_HELP = "Counted by the program or by the runtime, through meridian.observability.metrics."


class MetricsServeError(MeridianError):
    """The endpoint can't be opened where it is wanted; the text says why."""


# ---- the collector ---------------------------------------------------------------------------------------------------


class MeridianCollector:
    """A collector to register with a ``CollectorRegistry`` of prometheus-client.

    Args:
        scheduler: Whose run, or the last one after it has ended; without one, all runs that are under way.

    Raises:
        MissingExtraError: prometheus-client isn't installed.

    One scrape is one look: O(nodes + edges), from any thread, also while a loop is stuck.
    """

    def __init__(self, scheduler: Scheduler | None = None) -> None:
        self._metric: Any = load("prometheus_client.metrics_core", "prometheus", "MeridianCollector").Metric
        self._reader = Reader(scheduler)

    def describe(self) -> Iterator[Any]:
        """Yield the metrics of runs without numbers, so that a registry knows the names."""
        for metric in CATALOGUE:
            yield self._of(metric)

    def collect(self) -> Iterator[Any]:
        """Yield all metrics; what can't be read is left out and logged, and never costs the others."""
        try:
            read = self._reader.read()
        except Exception as error:  # noqa: BLE001 - a scrape must not end in a traceback; reported
            collector_failed(error)
            read = []
        for metric, points in read:
            if points:
                made = self._of(metric)
                name = exposition_name(metric)
                for labels, value in points:
                    made.add_sample(name, labels, value)
                yield made
        provider = get_metrics()
        if isinstance(provider, PrometheusMetrics):
            yield from map(self._of_family, provider.families(_TAKEN))

    def _of(self, metric: Metric) -> Any:
        base = exposition_name(metric).removesuffix("_total").removesuffix("_info")
        unit = "" if metric.unit == "" else base.rpartition("_")[2]
        return self._metric(base, metric.what, _KINDS[metric.kind], unit)

    def _of_family(self, family: Family) -> Any:
        # A counter's name ends in _total, whatever the program calls it: OpenMetrics has no other.
        base = family.name.removesuffix("_total") if family.kind == "counter" else family.name
        own = "_total" if family.kind == "counter" else ""
        made = self._metric(base, _OWN_HELP, family.kind)
        for suffix, labels, value in family.samples:
            made.add_sample(base + (suffix or own), dict(labels), value)
        return made


_TAKEN = frozenset(
    name
    for metric in CATALOGUE
    for full in (exposition_name(metric),)
    for name in (full, full.removesuffix("_total").removesuffix("_info"))
)
"""Names of runs; a program's own that are alike get a suffix."""


def grafana_dashboard() -> str:
    """Return a dashboard of the metrics of runs, as the JSON that Grafana imports."""
    return files("meridian.observability.adapters").joinpath("grafana-dashboard.json").read_text("utf-8")


# ---- the endpoint ----------------------------------------------------------------------------------------------------


class _Listener(ThreadingMixIn, WSGIServer):
    """Answers each scraper in a thread of its own."""

    daemon_threads = True
    request_queue_size = MOST_SCRAPERS

    def __init__(self, family: int, address: tuple[str, int]) -> None:
        self.address_family = family
        self._room = threading.BoundedSemaphore(MOST_SCRAPERS)
        super().__init__(address, _Handler)
        # Between being told of a scraper and letting it in, it may have gone: that mustn't block the others.
        self.socket.setblocking(False)
        self.timeout = 0

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # WSGIServer's own asks the name service who we are, and may wait for it
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]  # texts here
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        expect_more()
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A scraper went away, or took too long: nobody's fault, and no traceback."""
        get_logger().debug("metrics.scraper_left", "a scraper left before it had its answer")


class _Handler(WSGIRequestHandler):
    timeout = PATIENCE_S

    def log_message(self, format: str, *args: Any) -> None:
        """Requests aren't logged: they come all the time."""


class MetricsServer:
    """An endpoint that is open; made by `serve_metrics`. Close it, or use it as a context manager.

    Attributes:
        host: Where it listens.
        port: And at which port.
    """

    def __init__(self, listener: _Listener, host: str) -> None:
        self.host = host
        self.port = listener.server_port
        self._listener = listener
        self._pid = os.getpid()
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="meridian-metrics", daemon=True)
        self._thread.start()
        _open.add(self)

    @property
    def url(self) -> str:
        """What to scrape."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{PATH}"

    def close(self) -> None:
        """Answer no more; who is being answered gets the rest. A second call does nothing."""
        if os.getpid() != self._pid:  # a forked child leaves it to its parent
            return
        with contextlib.suppress(OSError):
            self._wake.send(b"x")
        self._thread.join()
        self.let_go()

    def __enter__(self) -> MetricsServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while all(key.fileobj is self._listener for key, _ in selector.select()):
                expect_more()
                self._listener.handle_request()

    def let_go(self) -> None:
        """Close what is open; a forked child does so with its copies, which leaves those of its parent alone."""
        for each in (self._listener.socket, self._wake, self._woken):
            each.close()


_open: weakref.WeakSet[MetricsServer] = weakref.WeakSet()


def serve_metrics(
    port: int,
    host: str = "127.0.0.1",
    *,
    scheduler: Scheduler | None = None,
    registry: Any = None,
) -> MetricsServer:
    """Open an endpoint for Prometheus, at ``/metrics``, on a daemon thread of its own; OpenMetrics if a scraper asks for it.

    Whoever reaches the address may read: names of nodes and edges, counts and times, no payloads. By default that is this machine.

    Args:
        port: Where; 0 picks a free one, which `MetricsServer.port` says.
        host: At which address; ``0.0.0.0`` for all.
        scheduler: Whose run, or the last one after it has ended; without one, all runs that are under way.
        registry: Serve this ``CollectorRegistry`` instead, as it is: register a `MeridianCollector` with it.

    Raises:
        MissingExtraError: prometheus-client isn't installed.
        MetricsServeError: it can't be opened there.
        ValueError: ``port`` is none, or both a scheduler and a registry are given.
    """
    if not _is_port(port):
        raise ValueError(f"port {port!r} is none: give a whole number from 0 (any that is free) to 65535")
    if scheduler is not None and registry is not None:
        raise ValueError("give a scheduler or a registry: a registry has collectors of its own")
    client = load("prometheus_client", "prometheus", "serve_metrics")
    if registry is None:
        registry = client.CollectorRegistry()
        registry.register(MeridianCollector(scheduler))
    app = client.make_wsgi_app(registry)
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = _Listener(family, address[:2])  # type: ignore[arg-type]  # a text and a number
    except OSError as error:
        raise MetricsServeError(
            f"no metrics at {host}:{port}: {error.args[-1]}; port 0 picks one that is free"
        ) from error
    listener.set_app(_at_path(app))
    server = MetricsServer(listener, host)
    get_logger().info("metrics.serving", "metrics can be scraped", url=server.url)
    return server


def _is_port(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65535


def _at_path(app: Any) -> Any:
    """Return ``app`` at `PATH` only."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == PATH:
            answered: Iterable[bytes] = app(environ, start_response)
            return answered
        start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"metrics are at {PATH}\n".encode()]

    return answer


# ---- during a run ----------------------------------------------------------------------------------------------------


class _OfRuns:
    """The endpoint that the environment asks for: one for all runs of the process, while there are any."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.server: MetricsServer | None = None

    def __enter__(self) -> None:
        with self.lock:
            self.users += 1
            if self.server is None:
                self.server = _asked_for(os.environ.get(VARIABLE, ""))

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.users -= 1
            if self.users or self.server is None:
                return
            server, self.server = self.server, None
        server.close()


_of_runs = _OfRuns()


def _asked_for(port: str) -> MetricsServer | None:
    """Open the endpoint at a port that the environment names; what it can't have is only logged."""
    try:
        return serve_metrics(int(port) if port.isdecimal() else -1)
    except (MeridianError, ValueError) as error:
        get_logger().warn("metrics.unavailable", "nobody can scrape this run", reason=str(error), port=port)
        return None


def serve_run() -> contextlib.AbstractContextManager[object]:
    """Return what serves metrics during a run, as `VARIABLE` asks for it."""
    return _of_runs


def _forget_in_child() -> None:
    """A forked child has no thread that serves: it lets go of its copies, and its parent goes on."""
    global _of_runs
    _of_runs = _OfRuns()
    for server in list(_open):
        server.let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
