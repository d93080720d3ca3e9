"""`python -m profiles`.

Exit codes: 0 everything was kept, 1 a folded profile wasn't, 2 the command makes no sense or can't write, 3 nothing can be
recorded here, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from profiles import compare, folded, record, spy

if TYPE_CHECKING:
    from types import FrameType


def parser() -> argparse.ArgumentParser:
    """Make the parser."""
    made = argparse.ArgumentParser(
        prog="python -m profiles", description="Flame graphs of the stress scenarios."
    )
    verbs = made.add_subparsers(dest="verb", required=True)
    records = verbs.add_parser("record", help="record scenarios and compare them with the last run")
    records.add_argument("scenario", nargs="*", help=f"which ({', '.join(record.SELECTION)}), or `all`")
    records.add_argument("--rate", type=int, default=199, help="samples a second (199)")
    records.add_argument(
        "--seconds", type=float, help="for each folded recording (up to 10, as the limit allows)"
    )
    records.add_argument("--engine", choices=record.ENGINES, help="one engine (both, where Rust is there)")
    records.add_argument(
        "--native", action="store_true", help="Rust functions, too (ci/rust symbols builds them)"
    )
    records.add_argument("--idle", action="store_true", help="threads that wait, too")
    records.add_argument("--gil", action="store_true", help="only who holds the interpreter's lock")
    records.add_argument("--memray", action="store_true", help="allocations, too (ci/install memray)")
    records.add_argument("--seed", type=int, default=1, help="of each scenario (1)")
    records.add_argument("--limit", type=float, default=280.0, help="seconds for everything (280)")
    records.add_argument(
        "--out", type=Path, default=record.HISTORY.with_name("latest"), help="(build/profiles/latest)"
    )
    records.add_argument(
        "--against",
        type=Path,
        default=record.HISTORY,
        help="a run or a folder of runs (build/profiles/history)",
    )
    records.add_argument("--json", action="store_true", help="run.json on stdout")
    verbs.add_parser("preflight", help="say whether anything can be recorded here")
    compares = verbs.add_parser("compare", help="compare two folded files")
    compares.add_argument("before", type=Path)
    compares.add_argument("after", type=Path)
    compares.add_argument("--out", type=Path, help="write compare.json and compare.svg here")
    compares.add_argument("--json", action="store_true")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say; return the exit code."""
    options = parser().parse_args(arguments)
    try:
        return {"record": _record, "preflight": _preflight, "compare": _compare}[options.verb](options)
    except record.RecordError as error:
        print(f"profiles: {error}", file=sys.stderr)
        return 2


def _preflight(options: argparse.Namespace) -> int:
    told = spy.preflight()
    _tell(f"skipped: {told}" if told else "py-spy may record here")
    return 3 if told else 0


def _compare(options: argparse.Namespace) -> int:
    try:
        before, after = (
            folded.tidy(folded.read(path.read_text())) for path in (options.before, options.after)
        )
    except (OSError, ValueError) as error:
        raise record.RecordError(str(error)) from error
    if not before or not after:
        raise record.RecordError("there is nothing to compare: a file is empty")
    found = compare.changes(before, after)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        compare.save(found, before, after, f"{options.before} → {options.after}", options.out)
    print(json.dumps(compare.as_json(found, before, after)) if options.json else compare.table(found))
    return 0


def _record(options: argparse.Namespace) -> int:
    began = time.monotonic()
    if options.rate < 1 or options.limit <= 0 or (options.seconds is not None and options.seconds <= 0):
        raise record.RecordError("--rate, --seconds and --limit have to be more than nothing")
    if code := _preflight(options):
        return code
    choice = _choice(options, began)
    out = _emptied(options.out.resolve())
    run = record.Run(choice, out, options.against.resolve(), _tell)
    # A shell that starts it in the background ignores SIGINT on its behalf.
    kept = {number: signal.signal(number, _interrupted) for number in (signal.SIGINT, signal.SIGTERM)}
    interrupted = False
    try:
        run.record()
    except KeyboardInterrupt:
        interrupted = True
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    if any(each.verdict == record.KEPT for each in run.recordings):
        record.remember(out, record.HISTORY)
    if options.json:
        print((out / "run.json").read_text(), end="")
    _tell(("interrupted; " if interrupted else "") + f"{_summary(run)}: {out / 'index.html'}")
    return 130 if interrupted else 0 if run.whole else 1


def _choice(options: argparse.Namespace, began: float) -> record.Choice:
    known = record.scenarios()
    asked = tuple(options.scenario) or record.SELECTION
    if asked == ("all",):
        asked = tuple(known)
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise record.RecordError(f"there is no scenario {unknown[0]!r}; there are {', '.join(known)}")
    engines = record.ENGINES if options.engine is None else (options.engine,)
    missing = record.missing_rust()
    if "rust" in engines and missing:
        if options.engine == "rust":
            raise record.RecordError(missing)
        _tell(missing)
        engines = ("python",)
    limit = options.limit - (time.monotonic() - began)
    return record.Choice(
        scenarios=asked,
        engines=engines,
        mode=spy.Mode(options.rate, idle=options.idle, gil=options.gil),
        native=options.native,
        memray=options.memray,
        seconds=options.seconds or record.seconds_within(limit, len(asked) * len(engines)),
        seed=options.seed,
        limit=limit,
    )


def _emptied(out: Path) -> Path:
    """Return the folder, made or emptied; what isn't an earlier run is not touched."""
    try:
        if out.exists() and any(out.iterdir()):
            if not (out / "run.json").exists():
                raise record.RecordError(f"{out} holds something else than a run of profiles")
            shutil.rmtree(out)
        out.mkdir(parents=True, exist_ok=True)
        (out / "run.json").write_text("{}")
    except OSError as error:
        raise record.RecordError(f"can't write {out}: {error.strerror}") from error
    return out


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _tell(text: str) -> None:
    print(f"profiles: {text}", file=sys.stderr, flush=True)


def _summary(run: record.Run) -> str:
    counts = {
        verdict: sum(each.verdict == verdict for each in run.recordings)
        for verdict in (record.KEPT, record.REJECTED, record.MISSING)
    }
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)


if __name__ == "__main__":
    sys.exit(main())
