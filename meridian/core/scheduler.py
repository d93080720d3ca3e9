"""Scheduler: registers graphs and runs them."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from meridian.core.clock import Clock, SystemClock
from meridian.core.errors import ConfigError, GraphError
from meridian.core.node import Node
from meridian.core.runtime_plan import PriorityBand
from meridian.core.subgraph import Subgraph
from meridian.engine.select import engine_factory
from meridian.observability.logging import get_logger
from meridian.observability.metrics import get_metrics
from meridian.redaction import describe_error

if TYPE_CHECKING:
    from collections.abc import Generator
    from random import Random

    from meridian.runtime.facts import Facts
    from meridian.runtime.plan import Plan
    from meridian.runtime.report import RunReport
    from meridian.runtime.run import Run

__all__ = ["PriorityBand", "Scheduler", "SchedulerConfig"]

_refusal_to_tell = threading.Lock()
"""Taken, and kept, by the run that tells that the Rust engine is refused: once per process."""


@dataclass(slots=True)
class SchedulerConfig:
    """How a scheduler runs.

    Attributes:
        tick_interval_ms: Milliseconds between two ticks of a node that has a tick hook; 0 for as often as possible.
        fairness_ratio: Slices that the bands CONTROL, HIGH and NORMAL get while all have work; each at least 1.
        max_batch_per_node: Most messages of one slice of a node, at least 1. Slices of slow nodes get shorter by
            themselves, down to a single message.
        idle_sleep_ms: Kept for v1; has no effect, an idle graph sleeps until something happens.
        shutdown_timeout_s: Most seconds that a stop drains for. Also the age from which a run whose tickers have no
            declared end stops at a quiet moment, as in v1.
        idle_timeout_s: Stop after so many seconds without anything to do; ``None`` for never.
    """

    tick_interval_ms: float = 50
    fairness_ratio: tuple[int, int, int] = (4, 2, 1)
    max_batch_per_node: int = 64
    idle_sleep_ms: float = 1
    shutdown_timeout_s: float = 2.0
    idle_timeout_s: float | None = None

    def check(self) -> None:
        """Raise `ConfigError` for a value that can't be used."""
        ratio: Any = self.fairness_ratio
        if not (
            isinstance(ratio, (tuple, list)) and len(ratio) == 3 and all(_is_int(n) and n >= 1 for n in ratio)
        ):
            raise ConfigError(
                f"fairness_ratio={ratio!r}: three whole numbers of at least 1, for CONTROL, HIGH, NORMAL"
            )
        if not _is_int(self.max_batch_per_node) or self.max_batch_per_node < 1:
            raise ConfigError(f"max_batch_per_node={self.max_batch_per_node!r}: a whole number of at least 1")
        for name in ("tick_interval_ms", "idle_sleep_ms", "shutdown_timeout_s"):
            _not_negative(name, getattr(self, name))
        if self.idle_timeout_s is not None:
            _not_negative("idle_timeout_s", self.idle_timeout_s)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _not_negative(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise ConfigError(f"{name}={value!r}: a finite number that isn't negative")


def _install_policy() -> None:
    from meridian.redaction import PolicyError, install_asked

    try:
        install_asked()
    except PolicyError as error:
        raise ConfigError(f"MERIDIAN_REDACTION: {error}") from error


class Scheduler:
    """Runs graphs.

    Args:
        config: How; the defaults suit most graphs.
        clock: Where time comes from; the system's by default.
        random: Draws trace ids; the system's entropy by default.
        inspect: Let other processes of this user look at its runs, through the socket of the process or one at this path;
            without it the variable ``MERIDIAN_INSPECT`` decides. See `meridian.introspect.serve`.

    While the variable ``MERIDIAN_METRICS_PORT`` is set, runs can be scraped by Prometheus at that port of this machine.

    ``run()`` blocks until the run ends; ``await run_async()`` does the same within a running event loop. A run ends when
    its sources are exhausted and its edges drained, after `shutdown` (or SIGINT, SIGTERM for ``run()``), after
    ``idle_timeout_s``, or, for graphs of tickers without a declared end, at the first quiet moment after
    ``shutdown_timeout_s``.

    `shutdown`, `is_running`, `set_priority`, `set_capacity`, `get_stats` and `report` may be called from any thread.
    """

    def __init__(
        self,
        config: SchedulerConfig | None = None,
        *,
        clock: Clock | None = None,
        random: Random | None = None,
        inspect: bool | str | os.PathLike[str] | None = None,
    ) -> None:
        self._inspect = inspect
        self._cfg = config or SchedulerConfig()
        self._clock: Clock = clock or SystemClock()
        self._random = random
        self._graphs: list[Subgraph] = []
        self._bands: dict[str, PriorityBand] = {}
        self._capacities: dict[str, int] = {}
        self._lock = threading.Lock()
        self._running = False
        self._shutdown = False
        self._run: Run | None = None
        self._ended: Facts | None = None
        # Set by meridian.testing, which runs a class of its own and draws the order of turns.
        self._run_type: type[Run] | None = None
        self._shuffle: Random | None = None

    # ---- before a run ----------------------------------------------------------------------------------------

    def register(self, unit: Node | Subgraph) -> None:
        """Add a graph, or a single node as a graph of its own.

        Raises:
            RuntimeError: a run is under way.
            TypeError: it is neither.
        """
        if self._running:
            raise RuntimeError("can't register while the scheduler runs: shut it down first")
        if isinstance(unit, Node):
            self._graphs.append(Subgraph.from_nodes(unit.name, [unit]))
            get_logger().debug("scheduler.register_node", "node registered", node=unit.name)
        elif isinstance(unit, Subgraph):
            self._graphs.append(unit)
            get_logger().debug("scheduler.register_subgraph", "graph registered", graph=unit.name)
        else:
            raise TypeError(
                f"register takes a Node or a Subgraph, got {type(unit).__name__}: "
                "make one of a wiring expression with graph(name, ...)"
            )

    # ---- running ---------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run everything that is registered, and return when the run ends.

        A call while a run is under way returns at once. Within a running event loop the run gets a thread of its own,
        for which this call waits (the loop stands still meanwhile: prefer `run_async` there).

        Raises:
            GraphError: the graph can't run; it lists every issue. It is a ``ValueError``.
            ConfigError: so can't the configuration.
            NodeError: a node whose error policy says so failed; everything was stopped in good order.
            KeyboardInterrupt: SIGINT came; everything was drained and stopped first. A second one cuts that short.
        """
        with self._under_way() as begins:
            if begins:
                self._run_blocking()

    @contextmanager
    def _under_way(self) -> Generator[bool]:
        """Begin a run, unless one is under way, and end it; whoever asked for a stop meanwhile meant this one."""
        with self._lock:
            begins = not self._running
            self._running = True
        try:
            yield begins
        finally:
            if begins:
                with self._lock:
                    self._running = self._shutdown = False

    def _run_blocking(self) -> None:
        import asyncio

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            self._run_in_thread()
            return
        from meridian.runtime.signals import stop_on_signals

        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            # Through the loop: a handler runs between any two instructions of this thread, also while it holds the lock
            # that `shutdown` takes, and also while the loop sleeps and would not see what changed.
            with stop_on_signals(partial(loop.call_soon_threadsafe, self.shutdown)) as came:
                runner.run(self._run_to_its_end())
        if any(number == 2 for number in came):
            raise KeyboardInterrupt

    def _run_in_thread(self) -> None:
        failed: list[BaseException] = []

        def target() -> None:
            try:
                self._run_blocking()
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                failed.append(error)

        thread = threading.Thread(target=target, name="meridian-run")
        thread.start()
        try:
            thread.join()
        except KeyboardInterrupt:
            self.shutdown()
            thread.join()
            raise
        if failed:
            raise failed[0]

    async def run_async(self) -> RunReport | None:
        """Run everything that is registered in the running event loop; return the report when the run ends.

        Other tasks of the loop keep running: a slice takes about 0.2 ms, or as long as the longest single call of a
        plain handler. A call while a run is under way returns ``None`` at once.

        Raises:
            GraphError, ConfigError, NodeError: as `run`.

        Cancellation: stops at once, without draining; ``on_stop`` of every started node still runs.
        """
        with self._under_way() as begins:
            return await self._run_to_its_end() if begins else None

    async def _run_to_its_end(self) -> RunReport:
        try:
            return await self._run_plan()
        except Exception as error:
            told = describe_error(error)
            get_logger().error("scheduler.error", "run failed", error_type=told.type, error_msg=told.message)
            raise

    async def _run_plan(self) -> RunReport:
        from meridian.runtime import cpu
        from meridian.runtime.facts import running
        from meridian.runtime.plan import collector_paused
        from meridian.runtime.run import Run

        self._cfg.check()
        if os.environ.get("MERIDIAN_REDACTION"):
            _install_policy()
        began = self._clock.monotonic_ns()
        with collector_paused():
            plan = self._plan()
        logger = get_logger()
        make, choice = engine_factory()
        logger.info(
            "scheduler.start",
            "run begins",
            graphs_count=len(self._graphs),
            tick_interval_ms=self._cfg.tick_interval_ms,
            engine=choice.name,
            engine_reason=choice.reason,
        )
        if choice.refused and _refusal_to_tell.acquire(blocking=False):
            logger.warn(
                "engine.refused", "the Rust engine is installed, but can't be used", reason=choice.reason
            )
        cpu.apply_affinity()
        topology = cpu.detect()
        cpu.publish(topology)
        bands = {id: 3 - band for id, band in self._bands.items() if band is not PriorityBand.NORMAL}
        for planned in plan.edges:
            capacity = self._capacities.get(planned.id) if self._capacities else None
            if capacity is not None:
                planned.edge.capacity = capacity
        with collector_paused():
            run = (self._run_type or Run)(
                plan,
                self._cfg,
                make,
                self._clock,
                choice=choice,
                bands=bands,
                random=self._random,
                shuffle=self._shuffle,
            )
        run.built_ns = self._clock.monotonic_ns() - began
        run.cpu = topology
        with self._lock:
            self._run = run
            running[run.id] = run
            if self._shutdown:
                run.stopping = True
        try:
            with self._served():
                return await run.main()
        finally:
            self._ended = ended = run.facts()._replace(live=None)
            with self._lock:
                self._run = None
                del running[run.id]
            logger.info("scheduler.shutdown_complete", "run ended", reason=run.reason, left=ended.left())

    @contextmanager
    def _served(self) -> Generator[None]:
        """Let other processes look during a run, and scrape its metrics, if anybody wants that."""
        with ExitStack() as stack:
            if self._inspect or (self._inspect is None and os.environ.get("MERIDIAN_INSPECT")):
                from meridian.introspect.server import serve_run

                stack.enter_context(serve_run(self._inspect))
            if os.environ.get("MERIDIAN_METRICS_PORT"):
                from meridian.observability.adapters.prometheus import serve_run as serve_metrics

                stack.enter_context(serve_metrics())
            yield

    def _plan(self) -> Plan:
        from meridian.runtime.plan import build_plan
        from meridian.runtime.validate import validate_together

        issues = validate_together(self._graphs)
        if any(issue.level == "error" for issue in issues):
            raise GraphError(issues)
        for issue in issues:
            get_logger().warn("graph.issue", issue.message, code=issue.code)
        return build_plan(self._graphs)

    def shutdown(self) -> None:
        """Ask the run to stop: sources first, then what is queued is drained for ``shutdown_timeout_s`` at most.

        Thread-safe, and returns at once. While none is under way, before the first run or between two, it is remembered:
        the next run starts its nodes, drains, and stops, and the one after that runs as usual. So it makes no difference
        whether a request comes just before a run begins or just after. A second call during the drain does nothing.
        """
        with self._lock:
            first = not self._shutdown
            self._shutdown = True
            run = self._run
        if not first:
            return
        get_logger().info("scheduler.shutdown_requested", "shutdown requested")
        if run is not None:
            self._on_loop(run, run.request_stop)

    def is_running(self) -> bool:
        """Return whether a run is under way."""
        return self._running

    # ---- while it runs, or before ----------------------------------------------------------------------------

    def set_priority(self, edge_id: str, priority: PriorityBand) -> None:
        """Serve an edge in another band.

        Before a run it is remembered, whether or not the edge exists yet. During one it takes effect at once; an id
        that doesn't exist is only logged.

        Raises:
            ValueError: not a `PriorityBand`.
        """
        if not isinstance(priority, PriorityBand):
            raise ValueError(f"priority {priority!r} is not a PriorityBand: use CONTROL, HIGH or NORMAL")
        old = self._bands.get(edge_id, PriorityBand.NORMAL)
        run = self._run
        logger = get_logger()
        if run is None:
            self._bands[edge_id] = priority
            logger.debug(
                "scheduler.priority_pending",
                "applied at the next run",
                edge_id=edge_id,
                priority=priority.name,
            )
            return
        if run.assembly.ring_of(edge_id) is None:
            logger.warn("scheduler.edge_not_found", "no such edge", edge_id=edge_id)
            return
        self._bands[edge_id] = priority
        self._on_loop(run, run.set_band, edge_id, 3 - priority)
        get_metrics().counter("scheduler_priority_applied_total").inc()
        logger.info(
            "scheduler.priority_changed", "priority changed", edge_id=edge_id,
            old_priority=old.name, new_priority=priority.name,
        )  # fmt: skip

    def set_capacity(self, edge_id: str, capacity: int) -> None:
        """Change the capacity of an edge; remembered before a run, immediate during one.

        Raises:
            ValueError: ``capacity`` isn't positive.
        """
        if not _is_int(capacity) or capacity <= 0:
            raise ValueError(f"capacity {capacity!r} of edge {edge_id}: a whole number of at least 1")
        run = self._run
        logger = get_logger()
        if run is None:
            self._capacities[edge_id] = capacity
            return
        ring = run.assembly.ring_of(edge_id)
        if ring is None:
            logger.warn("scheduler.edge_not_found", "no such edge", edge_id=edge_id)
            return
        self._capacities[edge_id] = capacity
        old = ring.capacity
        self._on_loop(run, run.set_capacity, edge_id, capacity)
        logger.info(
            "scheduler.capacity_changed",
            "capacity changed",
            edge_id=edge_id,
            old_capacity=old,
            new_capacity=capacity,
        )

    @staticmethod
    def _on_loop(run: Run, call: Any, *args: Any) -> None:
        """Do something on the loop's thread: at once if this is it, else soon."""
        if run.engine.owner == threading.get_ident():
            call(*args)
            return
        try:
            run.loop.call_soon_threadsafe(call, *args)
        except RuntimeError:  # the loop is closed: the run is over
            pass

    # ---- looking at it ---------------------------------------------------------------------------------------

    def get_stats(self) -> dict[str, int | str]:
        """Return ``{"status": "stopped"}``, or while a run is under way also counts of nodes and edges."""
        run = self._run
        if run is None:
            if not self._running:
                return {"status": "stopped"}
            nodes, edges = (
                sum(len(graph.nodes) for graph in self._graphs),
                sum(len(graph.edges) for graph in self._graphs),
            )
            return {
                "status": "running",
                "nodes_count": nodes,
                "edges_count": edges,
                "runnable_nodes": 0,
                "blocked_nodes": 0,
            }
        return {
            "status": "running",
            "nodes_count": len(run.plan.nodes),
            "edges_count": len(run.plan.edges),
            "runnable_nodes": len(run.engine.queue),
            "blocked_nodes": sum(1 for state in run.assembly.known_states() if state.held),
        }

    def report(self) -> RunReport | None:
        """Return what the run did: so far, or the one that ended last; ``None`` before the first."""
        from meridian.runtime.report import report_of

        facts = self.facts()
        return None if facts is None else report_of(facts)

    def facts(self, *, timing: bool = False) -> Facts | None:
        """Return what is to be known of the run, or the one that ended last; else ``None``. Args: as `Run.facts`."""
        run, ended = self._run, self._ended
        return ended if run is None else run.facts(timing=timing)
