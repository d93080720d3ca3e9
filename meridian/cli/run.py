"""``meridian run``: run a graph to its end, drain it when a signal comes, and report."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, TextIO

from meridian.cli.codes import Code, CommandError
from meridian.cli.streams import answer, tell, when_reader_leaves, write_json
from meridian.cli.tables import console_for, progress, show_report
from meridian.cli.target import exit_code, load, their_traceback
from meridian.core.errors import ConfigError, EngineError, GraphError, MeridianError, NodeError
from meridian.core.scheduler import Scheduler
from meridian.observability.logging import LogLevel, configure
from meridian.runtime.report import RunReport
from meridian.runtime.signals import stop_on_signals


@dataclass(frozen=True, slots=True)
class Settings:
    """What the options of ``meridian run`` say.

    Attributes:
        as_json: One JSON object on stdout instead of tables on stderr.
        timeout_s: Ask the run to stop after so many seconds, or ``None``.
        idle_timeout_s: Replaces `SchedulerConfig.idle_timeout_s`, if given.
        shutdown_timeout_s: Replaces `SchedulerConfig.shutdown_timeout_s`, if given.
        quiet: No progress and no tables.
        log_level: Of the runtime's log; ``None`` means WARN, unless the target's own code says otherwise.
        inspect: Let other processes look.
        metrics_port: Serve metrics for Prometheus at this port of this machine, 0 for any that is free; or ``None``.
        otel: Send metrics, traces and logs to OpenTelemetry.
    """

    as_json: bool = False
    timeout_s: float | None = None
    idle_timeout_s: float | None = None
    shutdown_timeout_s: float | None = None
    quiet: bool = False
    log_level: LogLevel | None = None
    inspect: bool = False
    metrics_port: int | None = None
    otel: bool = False


def run(target: str, args: Sequence[str], settings: Settings) -> Code:
    """Run a target; return the exit code."""
    return answer(target, settings.as_json, lambda out: _run(target, args, settings, out))


def _run(target: str, args: Sequence[str], settings: Settings, out: TextIO) -> Code:
    quiet = settings.quiet
    outcome = drive(
        target, args, settings, lambda scheduler, _: nullcontext() if quiet else progress(scheduler)
    )
    report, failure = outcome.report, outcome.failure
    if report is None:
        return outcome.code
    if failure is not None and not settings.as_json:
        sys.stdout.flush()
    if settings.as_json:
        record = report.as_dict() if failure is None else {**report.as_dict(), "error": str(failure)}
        write_json(out, target, record)
    elif not quiet:
        sys.stdout.flush()  # what the graph printed stands above its report
        show_report(report, console_for("stderr"))
    if failure is not None:
        tell(failure)
    return outcome.code


class Outcome(NamedTuple):
    """What became of a run.

    Attributes:
        report: What it did, or ``None`` if a signal came before it began.
        code: What to exit with.
        failure: What went wrong, or ``None``.
    """

    report: RunReport | None
    code: Code
    failure: CommandError | None


def drive(
    target: str,
    args: Sequence[str],
    settings: Settings,
    beside: Callable[[Scheduler, Callable[[], None]], AbstractContextManager[object]],
) -> Outcome:
    """Load a target and run it to its end, which signals may ask for.

    Args:
        target: What to run.
        args: What its code finds in ``sys.argv[1:]``.
        settings: How.
        beside: Gets the scheduler, and a function that asks the run to stop, from any thread; what it returns is entered
            while the run goes on.

    Raises:
        CommandError: it can't be loaded, or the run was refused before it began.
    """
    # Before the target is loaded, so that its own configuration wins; an explicit option wins over that.
    configure(settings.log_level or LogLevel.WARN, json=not sys.stderr.isatty())
    scheduler: Scheduler | None = None
    came: list[int] = []
    failure: CommandError | None = None
    try:
        with asyncio.Runner() as runner:
            scheduler = load(target, args, runner)
            if settings.log_level is not None:
                configure(settings.log_level)
            _configure(scheduler, settings)
            # Through the loop: a signal may come while this very thread holds what `shutdown` needs.
            stop = partial(_soon, runner.get_loop(), scheduler.shutdown)
            with (
                stop_on_signals(stop) as came,
                when_reader_leaves(stop),
                _metrics(scheduler, settings),
                _telemetry(scheduler) if settings.otel else nullcontext(),
                beside(scheduler, stop),
            ):
                runner.run(_main(scheduler, settings.timeout_s))
    except KeyboardInterrupt:
        if not came:
            raise
    except SystemExit as error:  # through the loop and past every task
        failure = CommandError(
            f"a node called sys.exit({exit_code(error)}), which ended the run", code=Code.FAILED
        )
    except CommandError as error:
        if scheduler is None:
            raise
        failure = error
    report = scheduler.report() if scheduler is not None else None
    code = _code(report, came, failure)
    if report is None and failure is not None:  # it never began
        failure.code = code
        raise failure
    return Outcome(report, code, failure)


def _telemetry(scheduler: Scheduler) -> AbstractContextManager[Any]:
    """Begin to send to OpenTelemetry; what is left is sent at the end of the block."""
    from meridian.nodes.extras import MissingExtraError
    from meridian.observability.adapters.opentelemetry import configure_opentelemetry

    try:
        return configure_opentelemetry(scheduler=scheduler)
    except MissingExtraError as error:
        raise CommandError(str(error), code=Code.MISSING) from error
    except ConfigError as error:
        raise CommandError(f"--otel: {error}") from error


def _soon(loop: asyncio.AbstractEventLoop, stop: Any) -> None:
    try:
        loop.call_soon_threadsafe(stop)
    except RuntimeError:  # the loop is closed: the run is over
        pass


def _configure(scheduler: Scheduler, settings: Settings) -> None:
    if settings.inspect and not scheduler._inspect:  # the target's own place stays
        scheduler._inspect = True
    given: dict[str, Any] = {
        name: value
        for name in ("idle_timeout_s", "shutdown_timeout_s")
        if (value := getattr(settings, name)) is not None
    }
    if given:
        scheduler._cfg = replace(scheduler._cfg, **given)


def _metrics(scheduler: Scheduler, settings: Settings) -> AbstractContextManager[object]:
    """Return what serves metrics during the run, if they are wanted."""
    port = settings.metrics_port
    if port is None:
        return nullcontext()
    from meridian.nodes.extras import MissingExtraError
    from meridian.observability.adapters.prometheus import serve_metrics

    try:
        server = serve_metrics(port, scheduler=scheduler)
    except MissingExtraError as error:
        raise CommandError(str(error), code=Code.MISSING) from error
    except MeridianError as error:
        raise CommandError(str(error), code=Code.FAILED) from error
    if port == 0 or not settings.quiet:
        print(f"metrics at {server.url}", file=sys.stderr, flush=True)
    return server


async def _main(scheduler: Scheduler, timeout_s: float | None) -> None:
    if timeout_s is not None:
        asyncio.get_running_loop().call_later(timeout_s, scheduler.shutdown)
    try:
        await scheduler.run_async()
    except GraphError as error:
        raise CommandError(
            str(error),
            code=Code.FAILED,
            extra={"issues": [issue._asdict() for issue in error.issues]},
        ) from error
    except NodeError as error:
        cause = error.__cause__
        where = "" if cause is None else _where(scheduler.report(), error)
        raise CommandError(f"{error}{where}", code=Code.FAILED) from error
    except EngineError as error:
        asked = os.environ.get("MERIDIAN_ENGINE")
        raise CommandError(str(error), code=Code.MISSING if asked == "rust" else Code.USAGE) from error
    except ConfigError as error:
        raise CommandError(str(error), code=Code.FAILED) from error
    except MeridianError as error:
        raise CommandError(str(error), code=Code.FAILED) from error
    except Exception as error:
        raise CommandError(
            f"the run ended with {type(error).__name__}: see its traceback above",
            code=Code.FAILED,
            details=their_traceback(error),
        ) from error


def _where(report: RunReport | None, error: NodeError) -> str:
    for each in reversed(report.errors if report is not None else ()):
        if each.node == error.node and each.phase == error.phase:
            return f" ({each.where})"
    return ""


def _code(report: RunReport | None, came: Sequence[int], failure: CommandError | None) -> Code:
    if came:
        return Code.TERMINATED if came[0] == signal.SIGTERM else Code.INTERRUPTED
    if failure is not None:
        return failure.code
    if report is not None and (
        report.reason in ("stuck", "failed", "cancelled")
        or any(node.state == "failed" for node in report.nodes)
    ):
        return Code.FAILED
    return Code.OK
