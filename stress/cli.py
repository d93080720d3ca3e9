"""The command `python -m stress`.

One scenario is played in this process, so that a profiler or a debugger sees it. Several, or all, or both engines, are played in
a process each, since the engine is chosen when Meridian is loaded; then there is a report.

Exit codes: 0 kept, 1 an invariant broke, 2 the command makes no sense or can't write its results, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Final

from stress import record, scenarios

if TYPE_CHECKING:
    from stress.play import Limit
    from stress.scenario import Scenario

FORMS: Final = ("short", "usual", "nightly")
ENGINES: Final = ("python", "rust")


def parser() -> argparse.ArgumentParser:
    """Make the parser."""
    made = argparse.ArgumentParser(prog="python -m stress", description=__doc__.partition("\n\n")[0])
    made.add_argument("scenario", nargs="*", help="which; all of them if left out")
    made.add_argument("--list", action="store_true", help="name the scenarios and end")
    made.add_argument("--seed", type=int, help="of the first round; drawn if left out")
    made.add_argument("--rounds", type=int, help="play so many rounds at most")
    made.add_argument(
        "--engine",
        choices=[*ENGINES, "both"],
        help="one scenario: the one that MERIDIAN_ENGINE chooses; several: both",
    )
    length = made.add_mutually_exclusive_group()
    length.add_argument("--short", action="store_true", help="a second or two each, for CI")
    length.add_argument("--nightly", action="store_true", help="minutes each")
    length.add_argument("--seconds", type=float, help="so many seconds each")
    made.add_argument("--out", type=Path, help="where results go; build/stress/<date> if left out")
    made.add_argument("--json", action="store_true", help="one JSON object on stdout")
    made.add_argument("--planted", metavar="FAULT", help="break Meridian in a known way first")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say; return the exit code."""
    options = parser().parse_args(arguments)
    try:
        return _main(options)
    except record.UnwritableError as error:
        print(f"stress: {error}", file=sys.stderr)
        return record.USAGE


def _main(options: argparse.Namespace) -> int:
    known = scenarios.names()
    unknown = [name for name in options.scenario if name not in known]
    if unknown:
        print(f"stress: there is no scenario {unknown[0]!r}; there are {', '.join(known)}", file=sys.stderr)
        return record.USAGE
    if (options.seconds is not None and not options.seconds > 0) or (
        options.rounds is not None and options.rounds < 1
    ):
        print("stress: --seconds and --rounds have to be more than nothing", file=sys.stderr)
        return record.USAGE
    if options.list:
        return _list(as_json=options.json)
    if options.planted is not None:
        from stress.planted import FAULTS

        if options.planted not in FAULTS:
            print(
                f"stress: there is no fault {options.planted!r}; there are {', '.join(FAULTS)}",
                file=sys.stderr,
            )
            return record.USAGE
    if options.seed is None:
        options.seed = SystemRandom().randrange(1, 1_000_000_000)
    if options.out is None:
        options.out = Path("build/stress", datetime.now(UTC).strftime("%Y-%m-%d-%H%M%S"))
    if len(options.scenario) == 1 and options.engine != "both":
        return _play_here(options)
    return _play_all(options, known)


def _list(*, as_json: bool) -> int:
    loaded = [scenarios.load(name) for name in scenarios.names()]
    if as_json:
        print(json.dumps([{"name": each.name, "sentence": each.sentence} for each in loaded], indent=1))
    else:
        width = max(len(each.name) for each in loaded)
        for each in loaded:
            print(f"{each.name:<{width}}  {each.sentence}")
    return 0


def form_of(options: argparse.Namespace) -> str:
    """Return which length was asked for."""
    if options.seconds is not None:
        return f"{options.seconds:g} s"
    return FORMS[0] if options.short else FORMS[2] if options.nightly else FORMS[1]


def limit_of(options: argparse.Namespace, scenario: Scenario) -> Limit:
    """Return how long to play ``scenario``."""
    from stress.play import Limit

    form = form_of(options)
    seconds = options.seconds if options.seconds is not None else scenario.seconds[FORMS.index(form)]
    return Limit(seconds, options.rounds, form)


# ---- one scenario, here ------------------------------------------------------------------------------------------------


def _play_here(options: argparse.Namespace) -> int:
    if options.engine is not None:
        os.environ["MERIDIAN_ENGINE"] = (
            options.engine
        )  # before Meridian is loaded: its messages are of one engine
    from meridian.core.errors import EngineError
    from stress import planted, play

    if options.planted is not None:
        planted.FAULTS[options.planted].plant()
    name = options.scenario[0]
    try:
        scenario = scenarios.load(name)
        play.quietly()
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background by a shell
            signal.signal(signal.SIGINT, signal.default_int_handler)
        line = Line(name)
        made = play.Play(scenario, options.seed, limit_of(options, scenario), options.out / name, line.tell)
        result = made.run()
    except EngineError as error:
        print(f"stress: {error}", file=sys.stderr)
        return record.USAGE
    line.end(result)
    if options.json:
        print(json.dumps(result))
    return record.exit_code(result["verdict"])


def _play_all(options: argparse.Namespace, known: list[str]) -> int:
    from stress.suite import Suite

    engines = [options.engine] if options.engine in ENGINES else list(ENGINES)
    if find_spec("meridian_fast") is None and options.engine != "rust":
        engines.remove("rust")
        print("stress: meridian_fast is not installed, so there is only the Python engine", file=sys.stderr)
    result = Suite(options, options.scenario or known, engines).run()
    if options.json:
        print(json.dumps(result))
    return record.exit_code(*(each["verdict"] for each in result["plays"]), result["verdict"])


# ---- what is said ------------------------------------------------------------------------------------------------------


COLOURS: Final = {record.KEPT: "32", record.INCONCLUSIVE: "33", record.PARTIAL: "33", record.BROKEN: "31;1"}


class Line:
    """One line of progress on stderr: kept up to date on a terminal, else written at the end, and now and then before.

    Args:
        name: What is played.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._terminal = sys.stderr.isatty()
        self._told = time.monotonic()
        self._every = 0.2 if self._terminal else 20.0

    def tell(self, rounds: int, messages: int, elapsed_s: float) -> None:
        """Say how far it is."""
        now = time.monotonic()
        if now - self._told >= self._every:
            self._told = now
            self.say(f"{rounds:>6} rounds {messages:>13,} messages {elapsed_s:>7.1f} s", "playing")

    def passing(self, elapsed_s: float) -> None:
        """Say that it goes on."""
        now = time.monotonic()
        if now - self._told >= self._every:
            self._told = now
            self.say(f"{elapsed_s:>7.1f} s", "playing")

    def say(self, text: str, verdict: str) -> None:
        """Write the line as it is now."""
        line = f"stress: {self.name:<28} {verdict:<12} {text}"
        print(
            f"\r{line}\x1b[K" if self._terminal else line,
            end="" if self._terminal else "\n",
            file=sys.stderr,
            flush=True,
        )

    def end(self, result: dict[str, Any]) -> None:
        """Write the verdict, and what was wrong."""
        verdict = result["verdict"]
        text = f"stress: {self.name:<28} {verdict:<12} {result['rounds']:>6} rounds {result['messages']:>13,} messages {result['elapsed_s']:>7.1f} s"
        if self._terminal:
            text = f"\r\x1b[{COLOURS[verdict]}m{text}\x1b[0m\x1b[K"
        print(text, file=sys.stderr)
        for line in wrong(result):
            print(f"    {line}", file=sys.stderr)


def wrong(result: dict[str, Any]) -> list[str]:
    """Say what broke in a play, and how to play it again."""
    lines = [f"seed {result['seed']}: {result['error']}"] if result["error"] else []
    for name, invariant in result["invariants"].items():
        lines += [f"seed {seed}: {name}: {text}" for seed, text in invariant["told"]]
        if invariant["broken"] > len(invariant["told"]):
            lines.append(f"{name}: {invariant['broken']} times in all")
    if lines:
        lines.append(f"again: {result['replay']}")
    return lines
