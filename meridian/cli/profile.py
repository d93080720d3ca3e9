"""``meridian profile``: look at a run for a while, and say where its time went."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from meridian.cli.codes import Code, CommandError
from meridian.cli.process import choose, connect, refused
from meridian.cli.profile_plot import FORMATS, plot
from meridian.cli.profile_table import show_profile
from meridian.cli.run import Settings as RunSettings
from meridian.cli.run import drive
from meridian.cli.streams import VERSION, answer, tell, write_file, write_json
from meridian.cli.tables import SHARE, console_for
from meridian.core.scheduler import Scheduler
from meridian.introspect.client import Client
from meridian.introspect.errors import ConnectionLostError, IntrospectionError, NothingRunsError
from meridian.introspect.findings import find_unreachable
from meridian.introspect.look import Watch
from meridian.introspect.model import Snapshot
from meridian.introspect.profile import Profile, Recorder
from meridian.runtime.signals import stop_on_signals

GRACE_S = 2.0
"""A run that was asked to stop has its shutdown timeout and so many seconds more; then its handler is interrupted."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the options of ``meridian profile`` say.

    Attributes:
        seconds: How long to look.
        hz: How often in a second.
        as_json: One JSON object on stdout instead of tables.
        pid: The process to look at.
        socket: Or its socket.
        run: Id of the run, where the process has several.
        timeout_s: Most seconds that an answer may take.
        out: Write the profile as JSON to this file, too.
        plot: Draw it to this file.
    """

    seconds: float = 5.0
    hz: float = 10.0
    as_json: bool = False
    pid: int | None = None
    socket: str | None = None
    run: str | None = None
    timeout_s: float = 5.0
    out: Path | None = None
    plot: Path | None = None


def profile(target: str | None, args: Sequence[str], settings: Settings) -> Code:
    """Profile a target, or a running process; return the exit code."""
    return answer(target, settings.as_json, lambda out: _profile(target, args, settings, out))


def _profile(target: str | None, args: Sequence[str], settings: Settings, out: TextIO) -> Code:
    for file in (settings.out, settings.plot):
        if file is not None and (file.is_dir() or not file.parent.is_dir()):
            raise CommandError(
                f"{str(file)!r} can't be written: it is a folder, or in a folder that is not there"
            )
    if settings.plot is not None and settings.plot.suffix not in FORMATS:
        raise CommandError(
            f"--plot {settings.plot}: don't know how to draw {settings.plot.suffix or 'that'}: use {' or '.join(FORMATS)}"
        )
    if target is None:
        return _attached(settings, out)
    named = settings.pid or settings.socket or settings.run
    if named is not None:
        raise CommandError(
            f"TARGET {target!r} and {named!r} both say what to look at: give one of TARGET, --pid and --socket"
        )
    return _own_run(target, args, settings, out)


# ---- looking ---------------------------------------------------------------------------------------------------------


class _Sampler:
    """Looks at a run again and again until its time is up, or something else ends it.

    Args:
        settings: How long and how often.
        recorder: Gets the looks.
        look: Takes one, and says how many seconds it cost.
        wait: Waits for so many seconds; says whether something ended the run meanwhile.
        now_s: The time.
    """

    def __init__(
        self,
        settings: Settings,
        recorder: Recorder,
        look: Callable[[], tuple[Snapshot, float]],
        wait: Callable[[float], bool],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._recorder = recorder
        self._look = look
        self._wait = wait
        self._now_s = now_s

    def sample(self, tell_s: Callable[[float, int], None]) -> bool:
        """Return whether the time was used up, which counts from the first look; ``tell_s`` hears how far it is."""
        settings, begin_s = self._settings, self._now_s()
        while True:
            at_s = self._now_s()
            try:
                shot, cost_s = self._look()
            except NotYetError:
                begin_s = at_s
            else:
                self._recorder.add(shot, cost_s)
                if shot.status == "stopped":
                    return False
            now_s = self._now_s()
            tell_s(now_s - begin_s, self._recorder.n)
            left_s = begin_s + settings.seconds - now_s
            if left_s <= 0:
                return True
            # A look that takes long is taken less often, so that looking doesn't become what is seen.
            pause_s = max(1 / settings.hz - (now_s - at_s), (SHARE - 1) * (now_s - at_s))
            if self._wait(min(pause_s, left_s)):
                return False


class NotYetError(Exception):
    """The run hasn't begun."""


@contextmanager
def _progress(what: str, settings: Settings) -> Generator[Callable[[float, int], None]]:
    """Say on stderr how far it is: on a terminal all the time, elsewhere in one line at the beginning."""
    line = f"profiling {what} for {settings.seconds:g} s; Ctrl-C shows what there is so far"
    if not sys.stderr.isatty():
        print(line, file=sys.stderr, flush=True)
        yield lambda passed_s, n: None
        return

    def say(passed_s: float, n: int) -> None:
        passed_s = min(passed_s, settings.seconds)
        print(f"\r{line}: {passed_s:.1f} s, {n:,} looks", end="\x1b[K", file=sys.stderr, flush=True)

    try:
        yield say
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


# ---- another process ---------------------------------------------------------------------------------------------------


def _attached(settings: Settings, out: TextIO) -> Code:
    recorder = Recorder()
    code = Code.OK
    failed: IntrospectionError | None = None
    place = choose(settings.pid, settings.socket)
    with stop_on_signals(_interrupt) as came:
        try:
            with _connected(place, settings.timeout_s) as client:
                look = _asking(client, settings.run)
                sampler = _Sampler(settings, recorder, look, _sleep)
                with _progress(f"process {client.pid}", settings) as say:
                    sampler.sample(say)
            end = "complete"
        except KeyboardInterrupt:
            end = "interrupted"
            code = Code.TERMINATED if came[:1] == [signal.SIGTERM] else Code.INTERRUPTED
        except IntrospectionError as error:
            if not recorder.n:
                failure = refused(error)
                # A process that says which runs it has does answer.
                raise (
                    failure if isinstance(error, NothingRunsError) else _unreachable(place, error, failure)
                ) from error
            if isinstance(error, NothingRunsError):
                end = "run ended"
            elif isinstance(error, ConnectionLostError):
                end = "process ended"
            else:
                end, failed, code = "no answer", error, Code.FAILED
    if not recorder.n:
        raise CommandError("interrupted before there was a look", code=code)
    made = recorder.profile(
        wanted_s=settings.seconds, hz=settings.hz, end=end, measured="answer", failed=failed
    )
    return _write(made, None, settings, out, code, None if failed is None else refused(failed))


def _connected(place: int | Path, timeout_s: float) -> Client:
    try:
        return connect(place, timeout_s=timeout_s)
    except CommandError as failure:
        if isinstance(error := failure.__cause__, IntrospectionError):
            _unreachable(place, error, failure)
        raise


def _unreachable(place: int | Path, error: IntrospectionError, failure: CommandError) -> CommandError:
    """Return a failure to look with what was found to be the cause."""
    pid = place if isinstance(place, int) else None
    failure.extra["findings"] = [find_unreachable(pid, error).as_dict()]
    return failure


def _interrupt() -> None:
    raise KeyboardInterrupt


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _asking(client: Client, run: str | None) -> Callable[[], tuple[Snapshot, float]]:
    """Return what asks a client; from the first answer on always for the same run."""
    asked = run

    def look() -> tuple[Snapshot, float]:
        nonlocal asked
        begin_s, own_s = time.perf_counter(), time.thread_time()
        try:
            shot = client.snapshot(asked)
        except NothingRunsError as error:
            if asked is None and len(client.runs) > 1:
                raise CommandError(f"{error}, with --run ID") from error
            raise
        asked = shot.run
        # What this process did itself to read the answer is no cost of the other one.
        return shot, max(time.perf_counter() - begin_s - (time.thread_time() - own_s), 0.0)

    return look


# ---- a run of this process -------------------------------------------------------------------------------------------


def _own_run(target: str, args: Sequence[str], settings: Settings, out: TextIO) -> Code:
    recorder = Recorder(whole=True)
    beside: list[_Beside] = []

    def watch(scheduler: Scheduler, stop: Callable[[], None]) -> _Beside:
        beside.append(_Beside(scheduler, stop, settings, recorder, target))
        return beside[0]

    outcome = drive(target, args, RunSettings(as_json=settings.as_json), watch)
    if outcome.report is None:
        return outcome.code
    cut = beside[0].cut_short
    code = Code.FAILED if cut else outcome.code
    if beside[0].in_time or cut:
        end = "complete"
    else:
        end = "interrupted" if code in (Code.INTERRUPTED, Code.TERMINATED) else "run ended"
    made = recorder.profile(wanted_s=settings.seconds, hz=settings.hz, end=end, measured="cpu")
    return _write(made, target, settings, out, code, outcome.failure)


class _Beside:
    """Looks at a run of this process from a thread of its own, then asks it to stop; entered while it goes on.

    Attributes:
        in_time: The run was still going on when the time was up.
        cut_short: It didn't stop when it was asked to, and its handler was interrupted.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        stop: Callable[[], None],
        settings: Settings,
        recorder: Recorder,
        target: str,
    ) -> None:
        self._scheduler = scheduler
        self._stop = stop
        self._settings = settings
        self._recorder = recorder
        self._target = target
        self._watch = Watch(scheduler)
        past = scheduler.facts()
        self._past = None if past is None else past.id
        self._ended = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._go, name="meridian-profile", daemon=True)
        self.in_time = False
        self.cut_short = False

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        if not self.in_time:
            with suppress(NotYetError):  # it was refused
                self._recorder.add(*self._look())

    def _go(self) -> None:
        sampler = _Sampler(self._settings, self._recorder, self._look, self._ended.wait)
        try:
            with _progress(self._target, self._settings) as say:
                self.in_time = sampler.sample(say)
        except Exception as error:  # noqa: BLE001 - raised again where the run is waited for; without a stop it might not end
            self._failure = error
        if not self.in_time and self._failure is None:
            return
        self._stop()
        last = self._recorder.last
        grace_s = GRACE_S
        if last is None or not last.loop.stuck:
            grace_s += self._scheduler._cfg.shutdown_timeout_s
        # The first signal asks once more; the second is raised in whatever keeps the loop.
        for _ in range(2):
            if self._ended.wait(grace_s):
                return
            if not self.cut_short:
                print("the run doesn't stop: what keeps it is interrupted", file=sys.stderr, flush=True)
            self.cut_short = True
            grace_s = GRACE_S
            interrupt = getattr(signal, "pthread_kill", None)
            if interrupt is not None:
                interrupt(threading.main_thread().ident, signal.SIGINT)

    def _look(self) -> tuple[Snapshot, float]:
        begin_s = time.thread_time()
        try:
            shot = self._watch.look()
        except NothingRunsError as error:
            raise NotYetError from error
        if shot.run == self._past:
            raise NotYetError
        return shot, time.thread_time() - begin_s


# ---- telling ---------------------------------------------------------------------------------------------------------


def _write(
    made: Profile,
    target: str | None,
    settings: Settings,
    out: TextIO,
    code: Code,
    failure: CommandError | None,
) -> Code:
    """Write the profile to wherever it is wanted; return the exit code."""
    record = {"target": target, "version": VERSION, **made.as_dict()}
    try:
        if settings.out is not None:
            write_file(settings.out, json.dumps(record) + "\n")
        if settings.plot is not None:
            write_file(settings.plot, plot(made, settings.plot.suffix))
    except CommandError as error:
        failure = failure or error
        code = code or error.code
    if settings.as_json:
        write_json(
            out, target, made.as_dict() if failure is None else {**made.as_dict(), "error": str(failure)}
        )
    else:
        sys.stdout.flush()  # what the graph printed stands above it
        show_profile(made, console_for("stdout" if target is None else "stderr"))
    if failure is not None:
        tell(failure)
    return code
