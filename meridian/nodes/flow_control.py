"""Nodes that decide when a message goes on: at a rate, after a retry, before a deadline, while a circuit is closed."""

from __future__ import annotations

import math
import threading
from array import array
from collections import deque
from concurrent.futures import Executor, Future
from enum import Enum
from typing import TYPE_CHECKING, Any

from meridian.core.errors import BackpressureError, MeridianError
from meridian.core.message import DATA, ERROR, Message
from meridian.nodes.alarm import Alarm
from meridian.nodes.arguments import interval, member, positive, size
from meridian.nodes.background import BackgroundNode, Job, call_aside, call_in
from meridian.nodes.base import (
    FunctionNode,
    NodeConfig,
    PipeNode,
    create_error_message,
    setup_standard_ports,
    validate_callable,
)
from meridian.observability.logging import get_logger
from meridian.redaction import describe_error

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "BackoffStrategy",
    "CircuitBreakerNode",
    "CircuitState",
    "RateLimitAlgorithm",
    "RetryNode",
    "ThrottleNode",
    "TimeoutAction",
    "TimeoutNode",
]

_MOST_HELD = 64


class RateLimitAlgorithm(str, Enum):
    """How a rate is kept."""

    TOKEN_BUCKET = "token_bucket"  # noqa: S105 - no password


class BackoffStrategy(str, Enum):
    """How long a retry waits: 10 ms times 2^(n-1), n, or 1 after the n-th attempt."""

    EXPONENTIAL = "exponential"
    LINEAR = "linear"
    FIXED = "fixed"


class TimeoutAction(str, Enum):
    """What becomes of a message whose handler is too slow."""

    EMIT_ERROR = "emit_error"
    DROP = "drop"


class CircuitState(str, Enum):
    """Whether data passes: yes, no, or on trial."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class RefusedError(MeridianError):
    """What the ERROR messages of this module stand for; its text is one fixed word."""

    payload_free = True


def _say_kept(node: str, n: int) -> None:
    """A stop that was cut off leaves messages here; they go first in the next run."""
    if n:
        get_logger().warn("function_node.kept", "stopped with messages that wait here", node=node, n=n)


class TokenBucket:
    """What a rate allows: full at first, it gains ``rate`` tokens a second up to ``size``.

    Attributes:
        rate: Tokens a second.
        size: Most tokens.
        level: How many there are, and when that was counted (not a number before the first time); an array, which native
            code can share.
    """

    __slots__ = ("level", "rate", "size")

    def __init__(self, rate: float, size: int) -> None:
        self.rate = rate
        self.size = size
        self.level = array("d", (size, math.nan))

    def begin(self, now: float) -> None:
        """Go on in another run, whose clock may show less than the one before: nobody waits for what it showed."""
        if now < self.level[1]:
            self.level[1] = now

    def fill(self, now: float) -> None:
        """Add what time has brought since the last time."""
        tokens, since = self.level
        # A shade more than what time brings: the tick that is asked for must find a whole token.
        gained = 0.0 if math.isnan(since) else (now - since) * self.rate
        self.level[0] = min(float(self.size), tokens + gained + (1e-9 if gained else 0.0))
        self.level[1] = now

    def has_token(self) -> bool:
        """Say whether there is a whole token."""
        return self.level[0] >= 1

    def take(self) -> None:
        """Take a token."""
        self.level[0] -= 1

    def wait_s(self) -> float:
        """Return the seconds until there is a whole token."""
        return max(0.0, (1 - self.level[0]) / self.rate)


class ThrottleNode(PipeNode):
    """Lets data through at a rate, in bursts of at most ``burst_size``.

    A bucket, full at first, gains ``rate_limit`` tokens a second up to its size; each message that leaves costs one. In a
    run messages leave exactly when their token is there, by the run's clock; without one, at ticks. At most 64
    messages wait here (fewer with a smaller bucket); then no more are taken, so that edges fill and producers wait. CONTROL and
    ERROR messages pass at once.

    At the end of the input and in a shutdown what waits still leaves at the rate.

    Args:
        name: Unique within its graph.
        rate_limit: Messages per second.
        algorithm: How the rate is kept.
        burst_size: Size of the bucket; if left out, what a second brings, at least 1.
        input_port: Name of the input.
        output_port: Name of the output.
        config: Settings; default ones if left out.

    Raises:
        TypeError: a number is none.
        ValueError: ``rate_limit`` isn't above 0, or ``burst_size`` less than 1.

    Example:
        ```python
        from meridian import graph, sink, source
        from meridian.nodes import ThrottleNode
        from meridian.testing import simulate

        got = []
        slow = ThrottleNode("slow", rate_limit=2, burst_size=1)
        simulation = simulate(graph("g", source(range(5)) >> slow >> sink(got.append)))
        assert got == [0, 1, 2, 3, 4]
        assert round(simulation.elapsed_s, 3) == 2.0
        ```
    """

    regular_ticks = False

    def __init__(
        self,
        name: str,
        rate_limit: float,
        algorithm: RateLimitAlgorithm = RateLimitAlgorithm.TOKEN_BUCKET,
        burst_size: int | None = None,
        input_port: str = "input",
        output_port: str = "output",
        config: NodeConfig | None = None,
    ) -> None:
        super().__init__(name, input_port, output_port, config)
        rate = positive(self, "rate_limit", rate_limit)
        self._algorithm = member(self, "algorithm", algorithm, RateLimitAlgorithm)
        burst = max(1, int(rate_limit)) if burst_size is None else size(self, "burst_size", burst_size)
        self._limit = min(burst, _MOST_HELD)
        self._waiting: deque[Message[Any]] = deque()
        self._bucket = TokenBucket(rate, burst)

    def on_start(self) -> Any:
        """Go on with what a run before left here."""
        self._bucket.begin(self.now())
        if self._waiting:
            self.tick_in(0)
        return super().on_start()

    def _handle_data(self, msg: Message[Any]) -> None:
        waiting = self._waiting
        if not waiting:
            self._bucket.fill(self.now())
            if self._attached is not None and self._bucket.has_token() and self._passes(msg):
                return
        waiting.append(msg)
        if len(waiting) >= self._limit:
            self.pause()
        if len(waiting) == 1:
            self.tick_in(self._bucket.wait_s())

    def _handle_tick(self) -> None:
        self._bucket.fill(self.now())
        waiting = self._waiting
        while waiting and self._bucket.has_token() and self._passes(waiting[0]):
            waiting.popleft()
        if waiting:
            self.tick_in(self._bucket.wait_s())
        if len(waiting) < self._limit:
            self.resume()

    def _passes(self, msg: Message[Any]) -> bool:
        """Let a message go for a token, if there is room for it."""
        try:
            self.emit(self._output_port, msg)
        except BackpressureError:
            return False
        self._bucket.take()
        return True

    def _native_form(self) -> tuple[Any, ...]:
        return ("throttle", (self._input_port,), self._output_port, self._bucket, self._waiting)

    def has_pending(self) -> bool | None:
        """Say whether messages wait."""
        return bool(self._waiting)

    def on_stop(self) -> None:
        """Say how many messages are kept for the next run."""
        super().on_stop()
        _say_kept(self.name, len(self._waiting))


class CircuitBreakerNode(PipeNode):
    """Stops data while what it feeds, or is fed by, keeps failing; learns of failures through ERROR messages.

    Closed, data passes; after ``failure_threshold`` ERROR messages it opens. Open, each DATA message becomes an ERROR message
    ``circuit_open`` of the same trace. After ``recovery_timeout_ms`` it is half open: data passes on trial, after
    ``success_threshold`` messages it closes, at the first ERROR message it opens again. ERROR and CONTROL messages always pass. A DATA message whose
    payload is a `Message` is taken for that message, which is how errors come in from another branch.

    Args:
        name: Unique within its graph.
        failure_threshold: ERROR messages that open the circuit.
        recovery_timeout_ms: How long it stays open, in milliseconds of the run's clock, at least 1.
        success_threshold: DATA messages on trial that close it.
        input_port: Name of the input.
        output_port: Name of the output.
        config: Settings; default ones if left out.

    Raises:
        TypeError: a threshold is no int.
        ValueError: a threshold is less than 1, or the time isn't finite.

    Example:
        ```python
        from meridian import MessageType
        from meridian.nodes import CircuitBreakerNode, NodeTestHarness

        harness = NodeTestHarness(CircuitBreakerNode("breaker", failure_threshold=1))
        harness.send_message("input", "passes")
        harness.send_error("input", {"why": "down"})
        harness.send_message("input", "refused")
        kinds = [message.type for message in harness.get_emitted_messages("output")]
        assert kinds == [MessageType.DATA, MessageType.ERROR, MessageType.ERROR]
        ```
    """

    regular_ticks = False

    def __init__(
        self,
        name: str,
        failure_threshold: int = 5,
        recovery_timeout_ms: int = 60000,
        success_threshold: int = 3,
        input_port: str = "input",
        output_port: str = "output",
        config: NodeConfig | None = None,
    ) -> None:
        super().__init__(name, input_port, output_port, config)
        self._failure_threshold = size(self, "failure_threshold", failure_threshold)
        self._success_threshold = size(self, "success_threshold", success_threshold)
        self._recovery = interval(self, "recovery_timeout_ms", recovery_timeout_ms)
        self._alarm = Alarm(self)
        self._state = CircuitState.CLOSED
        self._failures = self._successes = 0

    @property
    def state(self) -> CircuitState:
        """Whether data passes."""
        return self._state

    def _handle_data(self, msg: Message[Any]) -> None:
        if isinstance(msg.payload, Message):
            msg = msg.payload
        if msg.type is not DATA:
            self._pass_on(msg)
        elif self._state is CircuitState.OPEN:
            context = {"node": self.name}
            self.emit(self._output_port, create_error_message(RefusedError("circuit_open"), context, msg))
        else:
            if self._state is CircuitState.HALF_OPEN:
                self._successes += 1
                if self._successes >= self._success_threshold:
                    self._state, self._failures = CircuitState.CLOSED, 0
            self.emit(self._output_port, msg)

    def _pass_on(self, msg: Message[Any]) -> None:
        if msg.type is ERROR:
            self._count_failure()
        super()._pass_on(msg)

    def _count_failure(self) -> None:
        self._failures += 1
        if self._state is CircuitState.HALF_OPEN or (
            self._state is CircuitState.CLOSED and self._failures >= self._failure_threshold
        ):
            self._state = CircuitState.OPEN
            self._alarm.set_in(self._recovery)

    def _handle_tick(self) -> None:
        if self._state is CircuitState.OPEN and self._alarm.is_due():
            self._alarm.clear()
            self._state, self._successes = CircuitState.HALF_OPEN, 0

    def has_pending(self) -> bool | None:
        """Say ``False``: an open circuit holds nothing back."""
        return False


class _Attempt:
    __slots__ = ("count", "due", "is_done", "message", "port", "reply")

    def __init__(self, message: Message[Any], due: float) -> None:
        self.message = message
        self.due = due
        self.count = 0
        self.is_done = False
        self.port = ""
        self.reply: Message[Any] | None = None


class RetryNode(FunctionNode):
    """Calls a function for each payload until it succeeds, a limited number of times, in order.

    A failure is tried again after 10 ms times 2^(n-1), n or 1; the messages behind it wait. What has failed ``max_retries`` times
    in all leaves as an ERROR message on the dead-letter port, and the log says so at most once a second; a function behind
    that port sees it only if it takes a `Message`. Nothing needs to be wired there: the report counts it then as unrouted. The handler is never called again because an
    edge is full. At most 64 messages wait here; then no more are taken. CONTROL and ERROR messages pass at once.

    Handlers are called by ticks: at once in a run, by hand in a harness.

    Args:
        name: Unique within its graph.
        handler: ``handler(payload)``; ``None`` as result emits nothing.
        max_retries: Most attempts for a message, the first one included.
        backoff_strategy: How the waits grow.
        dead_letter_port: Name of the output for what failed for good.
        input_port: Name of the input.
        output_port: Name of the output.
        config: Settings; default ones if left out. The error policy isn't asked: failures are retried or dead-lettered.

    Raises:
        TypeError: ``max_retries`` is no int.
        ValueError: it is less than 1, or ``handler`` can't be called with a payload.

    Example:
        ```python
        from meridian import Message, Scheduler, graph, sink, source
        from meridian.nodes import RetryNode

        calls, got, dead = [], [], []


        def flaky(x):
            calls.append(x)
            if x == 3 or len(calls) < 3:
                raise OSError("try again")
            return x * 10


        def bury(message: Message) -> None:
            dead.append(message.payload["error_type"])


        retry = RetryNode("retry", flaky)
        scheduler = Scheduler()
        scheduler.register(
            graph(
                "g",
                source([1, 2, 3]) >> retry["input"],
                retry["output"] >> sink(got.append),
                retry["dead_letter"] >> sink(bury),
            )
        )
        scheduler.run()
        assert calls == [1, 1, 1, 2, 3, 3, 3]
        assert (got, dead) == ([10, 20], ["OSError"])
        ```
    """

    regular_ticks = False

    def __init__(
        self,
        name: str,
        handler: Callable[[Any], Any],
        max_retries: int = 3,
        backoff_strategy: BackoffStrategy = BackoffStrategy.EXPONENTIAL,
        dead_letter_port: str = "dead_letter",
        input_port: str = "input",
        output_port: str = "output",
        config: NodeConfig | None = None,
    ) -> None:
        validate_callable(handler, 1)
        super().__init__(name, *setup_standard_ports([input_port], [output_port, dead_letter_port]), config)
        self._user_function = handler
        self._most = size(self, "max_retries", max_retries)
        self._strategy = member(self, "backoff_strategy", backoff_strategy, BackoffStrategy)
        self._dead_letter_port = dead_letter_port
        self._input_port = input_port
        self._output_port = output_port
        self._waiting: deque[_Attempt] = deque()

    def on_start(self) -> Any:
        """Go on with what a run before left here."""
        now = self.now()
        for attempt in self._waiting:  # the clock of this run may show less than that of the one before
            attempt.due = min(attempt.due, now + (self._backoff_s(attempt.count) if attempt.count else 0.0))
        if self._waiting:
            self.tick_in(0)
        return super().on_start()

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        if port != self._input_port:
            return
        if msg.type is not DATA:
            self.emit(self._output_port, msg)
            return
        self._waiting.append(_Attempt(msg, self.now()))
        if len(self._waiting) >= _MOST_HELD:
            self.pause()
        if len(self._waiting) == 1:
            self.tick_in(0)

    def _handle_tick(self) -> None:
        waiting = self._waiting
        while waiting:
            attempt = waiting[0]
            if not attempt.is_done:
                left = attempt.due - self.now()
                if left > 0:
                    self.tick_in(left)
                    break
                self._try(attempt)
            if attempt.is_done:
                if attempt.reply is not None:
                    try:
                        self.emit(attempt.port, attempt.reply)
                    except BackpressureError:
                        self.tick_in(0)
                        break
                waiting.popleft()
        if len(waiting) < _MOST_HELD:
            self.resume()

    def _try(self, attempt: _Attempt) -> None:
        attempt.count += 1
        message = attempt.message
        result, error = call_in(Job(message).scope(self.name), self._call, message.payload)
        if error is None:
            attempt.port, attempt.is_done = self._output_port, True
            attempt.reply = None if result is None else message.with_payload(result)
        elif attempt.count >= self._most:
            self.record_error(error)
            described = describe_error(error)
            get_logger().warn_limited(
                ("retry.gave_up", self.name), "retry.gave_up", "a message failed for good: it goes to the dead-letter port",
                node=self.name, attempts=attempt.count,
                error_type=described.type, error_msg=described.message, where=described.where,
            )  # fmt: skip
            context = {"node": self.name, "attempts": attempt.count}
            attempt.port, attempt.is_done = self._dead_letter_port, True
            attempt.reply = create_error_message(error, context, message)
        else:
            attempt.due = self.now() + self._backoff_s(attempt.count)

    def _call(self, payload: Any) -> Any:
        assert self._user_function is not None
        return self._user_function(payload)

    def _backoff_s(self, failures: int) -> float:
        if self._strategy is BackoffStrategy.EXPONENTIAL:
            return float(0.01 * 2 ** (failures - 1))
        return 0.01 * (failures if self._strategy is BackoffStrategy.LINEAR else 1)

    def has_pending(self) -> bool | None:
        """Say whether messages wait for an attempt."""
        return bool(self._waiting)

    def on_stop(self) -> None:
        """Say how many messages are kept for the next run."""
        super().on_stop()
        _say_kept(self.name, len(self._waiting))


class _Threads(Executor):
    """A thread for each call. Not a pool's: what hangs in it must not keep the interpreter from ending."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def work() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - whoever waits gets it
                future.set_exception(error)

        threading.Thread(target=work, name="meridian-timeout", daemon=True).start()
        return future


_THREADS = _Threads()


class TimeoutNode(BackgroundNode):
    """Calls a function for each payload in a thread, and gives it up after a time.

    One message at a time; while it is in work no more are taken. A handler that takes longer than ``timeout_ms`` can't be stopped: it goes on in its
    thread, and what it returns in the end is ignored. CONTROL and ERROR messages pass, behind what came before them.

    For coroutines, ``asyncio.timeout`` within an `AsyncMap` costs less and really stops them.

    Args:
        name: Unique within its graph.
        handler: ``handler(payload)``; ``None`` as result emits nothing.
        timeout_ms: Most milliseconds for a message, of the run's clock, at least 1.
        timeout_action: Emit an ERROR message ``timeout`` for a message that took longer, or nothing.
        input_port: Name of the input.
        output_port: Name of the output.
        config: Settings, among them what a failing call means.

    Raises:
        TypeError: ``timeout_ms`` is no number.
        ValueError: it isn't finite, or ``handler`` can't be called with a payload.

    Example:
        ```python
        from meridian import Scheduler, graph, sink, source
        from meridian.nodes import TimeoutNode

        got = []
        square = TimeoutNode("square", lambda x: x * x, timeout_ms=5000)
        scheduler = Scheduler()
        scheduler.register(graph("g", source([1, 2, 3]) >> square >> sink(got.append)))
        scheduler.run()
        assert got == [1, 4, 9]
        ```
    """

    def __init__(
        self,
        name: str,
        handler: Callable[[Any], Any],
        timeout_ms: int = 5000,
        timeout_action: TimeoutAction = TimeoutAction.EMIT_ERROR,
        input_port: str = "input",
        output_port: str = "output",
        config: NodeConfig | None = None,
    ) -> None:
        validate_callable(handler, 1)
        super().__init__(name, input_port, output_port, config)
        self._user_function = handler
        self._timeout_s = interval(self, "timeout_ms", timeout_ms) / 1_000_000
        self._action = member(self, "timeout_action", timeout_action, TimeoutAction)
        self._at_work: Job | None = None
        self._deadline = 0.0
        self._lock = threading.Lock()

    def _handle_data(self, msg: Message[Any]) -> None:
        self._begin(msg)
        self._work_on_next()

    def _work_on_next(self) -> None:
        """Start a thread for the first message that isn't done, if none is in work."""
        if self._at_work is not None:
            return
        job = next((job for job in self._jobs if not job.is_done), None)
        if job is None:
            return
        self._at_work = job
        self._deadline = self.now() + self._timeout_s
        self.tick_in(self._timeout_s)
        call_aside(_THREADS, self._work, job)

    def _work(self, job: Job) -> None:
        assert self._user_function is not None
        result, error = call_in(job.scope(self.name), self._user_function, job.message.payload)
        with self._lock:  # the deadline may pass just now, on the other thread
            if not job.is_done and self.now() < self._deadline:
                self._finish(job, result, error)

    def _handle_tick(self) -> None:
        job = self._at_work
        if job is not None:
            with self._lock:
                late = not job.is_done and self.now() >= self._deadline
                if late:
                    if self._action is TimeoutAction.EMIT_ERROR:
                        context = {"node": self.name}
                        job.reply = create_error_message(RefusedError("timeout"), context, job.message)
                    job.is_done = True
            if not job.is_done:
                self.tick_in(self._deadline - self.now())
                return
            self._at_work = None
        try:
            super()._handle_tick()
        finally:
            self._work_on_next()

    def on_stop(self) -> Any:
        """Give up what is in work."""
        self._at_work = None
        return super().on_stop()
