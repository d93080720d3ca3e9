"""Measure the peers: ``python -m asv_bench.peers`` (or ``make bench-peers``).

Leaves peers.json, peers.md, peers.svg and peers.png in build/peers and prints the tables. Ends within ten minutes.

Exit code: 0 when everybody who can be measured was; 1 when somebody failed; 2 for a wrong command line; 130 when interrupted, with what
there is marked as partial.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from asv_bench.peers import report
from asv_bench.peers.contenders import CONTENDERS, WORKLOADS
from asv_bench.peers.environments import BUILD, interpreters
from asv_bench.peers.rounds import Row, measure, rows_for
from asv_bench.record import FIGURES, hear_interruptions, progress, record, save
from asv_bench.verdict import LEAST_ROUNDS

ROUNDS = 7
SECONDS = 0.15
LIMIT_S = 540.0
"""For everything, so that it ends within ten minutes on a machine that gets busier, too."""


def write(rows: list[Row], partial: bool, out: Path, keep: bool) -> dict[str, object]:
    """Leave what there is in ``out``, and with ``keep`` where the documentation looks for it; return it."""
    tables = {workload: report.table_of(rows, workload) for workload in WORKLOADS}
    made = record(
        report.COMMAND, report.values(rows), tables | {"traits": report.traits(rows)}, report.others(rows)
    )
    found = {
        **made,
        "partial": partial,
        "not_measured": [
            {"contender": row.contender.name, "workload": row.workload, "why": row.failed}
            for row in rows
            if row.failed
        ],
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "peers.json").write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (out / "peers.md").write_text(report.markdown(rows, made, partial), encoding="utf-8")
    for name in ("peers.svg", "peers.png"):
        report.plot(rows, made, partial, out / name)
    if keep:
        save("peers", made)
        report.plot(rows, made, partial, FIGURES / "peers.svg")
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m asv_bench.peers", description="Measure Meridian beside its peers."
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout instead of the tables")
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, help=f"default {ROUNDS}, at least {LEAST_ROUNDS}"
    )
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help=f"of each process (default {SECONDS:g})"
    )
    parser.add_argument(
        "--limit", type=float, default=LIMIT_S, help=f"seconds for everything (default {LIMIT_S:g})"
    )
    parser.add_argument("--out", type=Path, default=BUILD / "peers", help="where the results go")
    parser.add_argument(
        "--save", action="store_true", help="keep them for the documentation, in docs/figures"
    )
    options = parser.parse_args(arguments)
    if options.rounds < LEAST_ROUNDS:
        parser.error(f"--rounds {options.rounds}: at least {LEAST_ROUNDS}")
    ends = time.monotonic() + options.limit
    rows: list[Row] = []
    done = 0
    interrupted = False
    try:
        pythons, missing = interpreters({each.environment for each in CONTENDERS})
        rows = rows_for(missing)
        for _ in measure(rows, pythons, options.rounds, options.seconds, ends):
            done += 1
    except KeyboardInterrupt:
        interrupted = True
        progress(" interrupted\n")
        rows = rows or rows_for({})
    partial = interrupted or done < LEAST_ROUNDS
    if partial and options.save:
        progress(
            f"peers: fewer than {LEAST_ROUNDS} rounds or interrupted, so nothing is kept for the documentation\n"
        )
    found = write(rows, partial, options.out, options.save and not partial)
    if options.json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        print((options.out / "peers.md").read_text(encoding="utf-8"))
    progress(f"peers: {options.out / 'peers.md'}, and .json, .svg, .png beside it\n")
    if interrupted:
        return 130
    broken = [row for row in rows if row.failed and row.workload not in row.contender.cannot]
    return int(bool(broken))


if __name__ == "__main__":
    hear_interruptions()
    sys.exit(main())
