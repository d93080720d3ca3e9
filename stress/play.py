"""Plays one scenario in this process, round after round, and writes down what came of it."""

from __future__ import annotations

import asyncio
import faulthandler
import io
import os
import signal
import sys
import threading
import time
from array import array
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from platform import python_version
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

from meridian import Scheduler, __version__, graph, sink, source
from meridian.engine.select import engine_factory
from meridian.observability import logging as log
from meridian.observability.events import CAPACITY, get_events
from meridian.redaction import describe_error
from meridian.testing import DeadlockError, VirtualLoop
from stress import record
from stress.scenario import LEFT_OVER, MEMORY, WAITS, Invariant, Meter, Round, Scenario
from stress.slope import FLAT, GROWS, Slope, judge
from stress.watch import Watch

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

SETTLING_PASSES: Final = 10
"""Passes of the event loop that whatever has ended may need to be gone."""


@dataclass(frozen=True)
class Limit:
    """When a play is over: after the first of the two.

    Attributes:
        seconds: No round begins later, but for those that a scenario plays at least.
        rounds: Most rounds, or ``None``.
        form: What this length is called.
    """

    seconds: float
    rounds: int | None
    form: str


class Play:
    """One play of one scenario.

    Args:
        scenario: What.
        seed: Of its first round.
        limit: How long.
        folder: Where its result goes.
        tell: Called now and then with the rounds and messages so far.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        limit: Limit,
        folder: Path,
        tell: Callable[[int, int, float], None],
    ) -> None:
        self.scenario = scenario
        self.seed = seed
        self.limit = limit
        self.folder = folder
        self.tell = tell
        self.invariants = {name: Invariant() for name in (*scenario.invariants, LEFT_OVER)}
        self.meter = Meter()
        self.rounds = 0
        self.error: str | None = None
        self._readings = array("d")  # pairs, in little space: a list of them would look like a leak
        self.watch = Watch(self.meter, self._stuck)
        self._began = time.monotonic()
        self._now_playing = seed
        self._interrupted = False
        self._before = self.invariants

    def readings(self) -> list[tuple[int, float]]:
        """Return the resident memory after each round, beside the messages so far."""
        return [
            (int(messages), rss)
            for messages, rss in zip(self._readings[::2], self._readings[1::2], strict=True)
        ]

    def run(self) -> dict[str, Any]:
        """Play, write the result, and return it."""
        self._write(
            partial=True
        )  # so that an unwritable place is known at once, and a killed play leaves a trace
        self.watch.start()
        kept = {number: signal.signal(number, self._interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self._play()
        except KeyboardInterrupt:
            self.invariants = self._before  # a round that was cut short says nothing
            self.error = None
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)
            self.watch.close()
        return self._write(partial=self._interrupted)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """End after this round, which can then be judged; at the second signal at once."""
        del number, frame
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True

    def _play(self) -> None:
        if self.scenario.leaves is not None:
            fill_events()
            self._began = time.monotonic()
        while True:
            self._now_playing = self.seed + self.rounds
            self._before = deepcopy(self.invariants)
            self._round(Round(self.scenario.name, self._now_playing, self.meter, self.invariants))
            self.rounds += 1
            self.meter.beats += 1
            if self.scenario.leaves is not None:
                self._readings.extend((self.meter.messages, self.watch.settled_rss()))
            elapsed = time.monotonic() - self._began
            self.tell(self.rounds, self.meter.messages, elapsed)
            broken = self.error is not None or any(each.broken for each in self.invariants.values())
            late = elapsed >= self.limit.seconds and self.rounds >= self.scenario.least
            if broken or late or self.rounds == self.limit.rounds or self._interrupted:
                return

    def _round(self, round: Round) -> None:
        threads, descriptors = threading.active_count(), self.watch.open_descriptors()
        try:
            factory = VirtualLoop if self.scenario.virtual else None
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(self._main(round))
        except DeadlockError as error:
            round.check(WAITS, False, str(error))
        except Exception as error:  # noqa: BLE001 - whatever a round raises is the result
            told = describe_error(error)
            self.error = f"{told.type} at {told.where}: {told.message}"
            return
        after = threading.active_count(), self.watch.open_descriptors()
        round.check(
            LEFT_OVER,
            after == (threads, descriptors),
            f"{after[0]} threads and {after[1]} descriptors, {threads} and {descriptors} before",
        )

    async def _main(self, round: Round) -> None:
        await self.scenario.play(round)
        for _ in range(SETTLING_PASSES):
            if len(asyncio.all_tasks()) == 1:
                break
            await asyncio.sleep(0)
        left = len(asyncio.all_tasks()) - 1
        round.check(LEFT_OVER, not left, f"{left} tasks go on")

    def _stuck(self) -> None:
        """Nothing moves any more, and the thread that plays can't say so: write what there is, and end the process."""
        self.invariants.setdefault(WAITS, Invariant()).broken += 1
        self.invariants[WAITS].told.append((self._now_playing, "nothing moves any more"))
        faulthandler.dump_traceback(all_threads=True)
        self._write(partial=False)
        sys.stderr.flush()
        os._exit(record.exit_code(record.BROKEN))

    # ---- the result --------------------------------------------------------------------------------------------

    def _write(self, *, partial: bool) -> dict[str, Any]:
        slope = None if self.scenario.leaves is None else judge(self.readings(), self.scenario.leaves)
        if slope is not None and not partial:
            self._note(slope)
        _, choice = engine_factory()
        verdict = self._verdict(partial)
        result = {
            "scenario": self.scenario.name,
            "sentence": self.scenario.sentence,
            "engine": choice.name,
            "engine_reason": choice.reason,
            "verdict": verdict,
            "partial": partial,
            "form": self.limit.form,
            "seed": self.seed,
            "rounds": self.rounds,
            "messages": self.meter.messages,
            "elapsed_s": round(time.monotonic() - self._began, 3),
            "invariants": {name: asdict(each) for name, each in self.invariants.items()},
            "error": self.error,
            "replay": f"python -m stress {self.scenario.name} --engine {choice.name} {self._again()}",
            "memory": None if slope is None else asdict(slope),
            "samples": [list(sample) for sample in self.watch.samples],
            "meridian": __version__,
            "python": python_version(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        record.write(self.folder / "result.json", result)
        return result

    def _note(self, slope: Slope) -> None:
        """Turn what became of the memory into a look at its invariant; none if nobody knows."""
        memory = self.invariants[MEMORY]
        memory.checks += slope.verdict in (FLAT, GROWS)
        if slope.verdict == GROWS:
            memory.broken += 1
            measured = f"{slope.per_message:.3f} bytes a message ({slope.low:.3f} to {slope.high:.3f})"
            memory.told.append((self.seed, f"{measured}, over {slope.limit}"))

    def _again(self) -> str:
        """Return the arguments that play the last round again; or all of them, if only together they broke something."""
        if MEMORY in self.invariants and self.invariants[MEMORY].broken:
            return f"--seed {self.seed} --rounds {self.rounds}"
        return f"--seed {self._now_playing} --rounds 1"

    def _verdict(self, partial: bool) -> str:
        if self.error is not None or any(each.broken for each in self.invariants.values()):
            return record.BROKEN
        if partial:
            return record.PARTIAL
        silent = [name for name, each in self.invariants.items() if not each.checks]
        if silent and silent != [MEMORY] and self.rounds >= self.scenario.least:
            self.error = f"never looked at: {', '.join(silent)}"
            return record.BROKEN
        return record.INCONCLUSIVE if MEMORY in silent else record.KEPT


def fill_events() -> None:
    """Fill the process's ring of events with those of runs: that it is filled by what is played would look like a leak."""
    while not (held := get_events().since()).events or held.next < CAPACITY:
        made = Scheduler()
        made.register(graph("short", source([None]) >> sink(_nothing, name="end")))
        made.run()


def _nothing(item: object) -> None:
    del item


class _Nowhere(io.TextIOBase):
    """Takes text and keeps none."""

    def write(self, text: str, /) -> int:
        return len(text)


def quietly() -> None:
    """Let runs log into nothing, but let them log: failures are a part of the play, and so is what they cost."""
    log.replace_config(log.LogConfig(level="INFO", stream=cast("TextIO", _Nowhere())))
