"""Runs each benchmark once, in this process, with its smallest parameters: does it run at all?

    python -m asv_bench.once python          a line of JSON for each on stdout: its figure, or why there is none

What it takes is of no interest. A benchmark on no engine in particular is run with the Python one.
"""

from __future__ import annotations

import io
import json
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from asv_bench.engines import PYTHON
from asv_bench.tally import NEITHER, Case, cases_of

SUITE = Path(__file__).with_name("benchmarks")
LEAST = {"number": 1, "repeat": 1, "rounds": 1, "warmup_time": 0, "min_run_count": 1}
"""As asv's own ``--quick``."""
SKIPPED = "asv: skipped: "
ELSEWHERE = ("lanes",)
"""Modules of benchmarks that call what has a lane of its own in CI, and take long; they aren't run here."""


def discover() -> list[Case]:
    """Return all cases that asv would discover, without importing Meridian."""
    from asv_runner.discovery import disc_benchmarks

    sys.path.insert(0, str(SUITE.parent))
    try:
        return [case for each in disc_benchmarks(str(SUITE)) for case in cases_of(each.name, each.params)]
    finally:
        sys.path.remove(str(SUITE.parent))


def smallest(cases: Iterable[Case], engine: str) -> list[Case]:
    """Return the first case of each benchmark on an engine, but for those `ELSEWHERE`; on Python, also of those on neither."""
    engines = (PYTHON, NEITHER) if engine == PYTHON else (engine,)
    first: dict[str, Case] = {}
    for case in cases:
        if case.engine in engines and case.module not in ELSEWHERE:
            first.setdefault(case.benchmark, case)
    return list(first.values())


def run(case: Case) -> dict[str, Any]:
    """Run a case and return what became of it: its ``figure``, why it was ``skipped``, or which ``error`` broke it."""
    from asv_runner.discovery import get_benchmark_from_name

    benchmark = get_benchmark_from_name(str(SUITE), case.id, extra_params=LEAST)
    benchmark.set_cache(None)
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            skipped = benchmark.do_setup()
            try:
                figure = None if skipped else benchmark.do_run()
            finally:
                benchmark.do_teardown()
    except Exception as error:  # noqa: BLE001  # the others are run all the same
        traceback.print_exc()
        return {"case": case.id, "error": type(error).__name__}
    if skipped:
        return {"case": case.id, "skipped": said.getvalue().partition(SKIPPED)[2].strip()}
    return {"case": case.id, "figure": min(figure["samples"]) if isinstance(figure, dict) else figure}


def answers(engine: str) -> Iterator[dict[str, Any]]:
    """Run each benchmark once on an engine."""
    return map(run, smallest(discover(), engine))


if __name__ == "__main__":
    for answer in answers(sys.argv[1]):
        print(json.dumps(answer), flush=True)
