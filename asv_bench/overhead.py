"""The budget of metrics (N4): what they cost on an edge, on the chain W1 and on a fan-in of 8. ``make budget`` prints it as a table.

Three modes: metrics **off** (`NoopMetrics`, the default); a **null sink**, a provider that keeps nothing and that nobody reads;
**prometheus**, `PrometheusMetrics`, read once a second. A sample is too short to hold its share of a reading, so a reading is
measured by itself, while the fan-in runs, and charged.

==========================================  ==============  ===========================================
what                                        lane I          lane R
==========================================  ==============  ===========================================
prometheus over off                         at most 1.03    at most 1.10
null sink over off                          aims at 1.01    at most 1.10
off over a package without metrics          at most 1.01
off over a package without tracing          at most 1.01
==========================================  ==============  ===========================================

Lane I counts instructions (`instructions`) and a second is taken to hold 10^9 of them, less than it does anywhere. Lane R takes
times in turns (`meridian_conformance.paired`) in one process. The package without metrics is a copy in which `WITHOUT_METRICS` took
out what asks for them on the way of a message; `WITHOUT_TRACING` does the same for spans and for the node that lines name.

First the gates are tested themselves: a loop of a fifth more has to turn each red, and a pair alike must not. A gate that fails
that measures nothing, and nothing is green then.

Exit code: 0 green or yellow (it can't be told here and now); 1 red; 2 when a measurement broke, or a gate did; 130 when interrupted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from asv_bench import instructions
from asv_bench.engines import PYTHON, RUST
from asv_bench.instructions import SCRAPE, Case, LaneError, engines_of
from asv_bench.paired import QUADS, judge
from asv_bench.record import Table, hear_interruptions, offer_to_save, progress, record, save
from asv_bench.trees import Edit, Tree, TreeError, tree
from asv_bench.verdict import GREEN, RED, YELLOW, colored, laid_out
from asv_bench.watched import (
    LOOPS,
    OFF,
    OPERATIONS,
    PROMETHEUS,
    SINK,
    ProcessorClock,
    ScrapingClock,
    provided,
    providers,
)
from meridian_conformance.paired import Measured, Sample, compare

WORKLOADS = ("edge", "chain", "fan-in")
BUDGET_I, BUDGET_R, NOTHING = 1.03, 1.10, 1.01
SECOND = 1e9
"""Instructions that a second is taken to hold."""
LANES = ("I", "R")
GATE = "the gate itself"

WITHOUT_METRICS = (
    # Of an edge, the one comparison that notices a new configuration: logging needs it too, and would ask for itself.
    Edit("core/edge.py", "if self._settled != _observing._generation", "if _logger._threshold <= _DEBUG", times=5),
    # Of a run: whom to tell.
    Edit("runtime/observe.py", "self._metrics = get_metrics() if is_metrics_enabled() else None", "self._metrics = None"),
)  # fmt: skip

WITHOUT_TRACING = (
    # Of a slice: whose function runs, which spans and lines ask for. The Rust engine's part can't be taken out here.
    Edit("engine/step.py", "scope.node = name\n", "pass\n", times=5),
    Edit("engine/step.py", "scope.node = node.name\n", "pass\n", times=2),
    Edit("engine/step.py", "scope.node = None\n", "_nobody = None\n", times=9),
    # Of a run: whether handlers are wrapped.
    Edit("runtime/observe.py", "self._spans = Spans(run) if is_tracing_enabled() else None", "self._spans = None"),
)  # fmt: skip

Row = dict[str, Any]


def row(
    lane: str, engine: str, what: str, on: str, ratio: float, budget: float, verdict: str, note: str = ""
) -> Row:
    return {
        "lane": lane, "engine": engine, "what": what, "workload": on,
        "ratio": round(ratio, 4), "budget": budget, "verdict": verdict, "note": note,
    }  # fmt: skip


# ---- lane I ----------------------------------------------------------------------------------------------------------


def judge_count(ratio: float, budget: float) -> str:
    """Return the verdict on a ratio of counts, which have next to no noise."""
    return RED if ratio > budget else GREEN


def lane_i(head: Tree, without: Tree, untraced: Tree, engine: str) -> Iterator[Row]:
    """Count what the modes cost, and what tracing that is off does."""
    progress(f"budget, lane I: {engine} engine under valgrind ...\n")
    modes: list[Case] = [(name, mode) for name in WORKLOADS for mode in (OFF, SINK, PROMETHEUS)]
    loops: list[Case] = [(name, OFF) for name in LOOPS]
    found = instructions.count(head, engine, [*loops, *modes, SCRAPE]).slopes
    yield from gate_i(engine, *(found[loop] for loop in loops))
    reading = found[SCRAPE] / SECOND
    for name in WORKLOADS:
        off = found[name, OFF]
        ratio = found[name, PROMETHEUS] * (1 + reading) / off
        note = f"{off:,.0f} instructions; a reading a second is {reading:.2%} of it"
        yield row(
            "I", engine, "prometheus over off", name, ratio, BUDGET_I, judge_count(ratio, BUDGET_I), note
        )
        ratio = found[name, SINK] / off
        verdict = YELLOW if NOTHING < ratio <= BUDGET_I else judge_count(ratio, BUDGET_I)
        yield row("I", engine, "null sink over off", name, ratio, NOTHING, verdict)
    bare = instructions.count(without, engine, [(name, OFF) for name in WORKLOADS]).slopes
    for name in WORKLOADS:
        ratio = found[name, OFF] / bare[name, OFF]
        yield row("I", engine, "off over without metrics", name, ratio, NOTHING, judge_count(ratio, NOTHING))
    bare = instructions.count(untraced, engine, [(name, OFF) for name in WORKLOADS]).slopes
    for name in WORKLOADS:
        ratio = found[name, OFF] / bare[name, OFF]
        yield row("I", engine, "off over without tracing", name, ratio, NOTHING, judge_count(ratio, NOTHING))


def gate_i(engine: str, loop: float, again: float, more: float) -> Iterator[Row]:
    """Test the gate of this lane."""
    ratio = more / loop
    yield tested(
        row("I", engine, GATE, "a loop of a fifth more", ratio, BUDGET_I, judge_count(ratio, BUDGET_I)), RED
    )
    ratio = again / loop
    yield tested(row("I", engine, GATE, "a pair alike", ratio, BUDGET_I, judge_count(ratio, BUDGET_I)), GREEN)


def tested(found: Row, want: str) -> Row:
    """Return the row of a gate's test: green if it did what it should, yellow if it couldn't tell, else broken."""
    if found["verdict"] not in (want, YELLOW):
        raise LaneError(
            f"the gate of lane {found['lane']} is broken: {found['workload']} is {found['verdict']} at {found['ratio']}"
        )
    told = YELLOW if found["verdict"] == YELLOW else GREEN
    return {**found, "verdict": told, "note": f"was {found['verdict']}"}


# ---- lane R ----------------------------------------------------------------------------------------------------------


def in_mode(name: str, provider: Any) -> Sample:
    """Return the sample of an operation with a metrics provider."""
    sample = OPERATIONS[name].open(ProcessorClock())

    def sampled(n: int) -> int:
        with provided(provider):
            return sample(n)

    return sampled


def reading_s(provider: Any) -> float:
    """Return the seconds of one reading while the fan-in runs."""
    fan_in, times = OPERATIONS["fan-in"], 5
    with provided(provider):
        clock = ScrapingClock(provider, times)
        fan_in.open(clock)(fan_in.few)
    return clock.ns / times / 1e9


def work(engine: str) -> None:
    """Measure what the modes cost on this engine, and print a line of JSON for each row."""
    from meridian.engine.select import engine_factory
    from meridian.observability import configure

    configure("ERROR")
    if (runs := engine_factory()[1].name) != engine:
        raise LaneError(f"asked for the {engine} engine, got {runs}")

    def told(what: str, on: str, measured: Measured) -> Row:
        note = "" if measured.decided else str(measured).partition(":")[0]
        return row("R", engine, what, on, measured.ratio.median, BUDGET_R, judge(measured), note)

    loop, again, more = (operation.open(None) for operation in LOOPS.values())
    _say(tested(told(GATE, "a loop of a fifth more", compare(loop, again, more, BUDGET_R, quads=QUADS)), RED))
    _say(tested(told(GATE, "a pair alike", compare(loop, again, again, BUDGET_R, quads=QUADS)), GREEN))
    provider = providers()
    reading = reading_s(provider[PROMETHEUS])
    for name in WORKLOADS:
        off, twin = in_mode(name, provider[OFF]), in_mode(name, provider[OFF])
        for mode, charge in ((PROMETHEUS, 1 + reading), (SINK, 1.0)):
            measured = compare(off, twin, in_mode(name, provider[mode]), BUDGET_R, quads=QUADS, charge=charge)
            _say(told(f"{mode} over off", name, measured))


def _say(found: Row) -> None:
    print(json.dumps(found), flush=True)


def lane_r(head: Tree, engine: str) -> Iterator[Row]:
    """Measure what the modes cost, in a process that runs on an engine.

    Raises:
        LaneError: it broke.
    """
    progress(f"budget, lane R: {engine} engine ...\n")
    command = head.command("-m", "asv_bench.overhead", "--worker", engine)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=head.environment(engine)
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                yield json.loads(line)
        except BaseException:
            process.kill()
            raise
        if process.wait():
            raise LaneError(f"lane R's process ended with exit code {process.returncode}")


# ---- the command -----------------------------------------------------------------------------------------------------


def measured(lanes: Sequence[str], engine: str | None, edits: Sequence[Edit] = ()) -> Iterator[Row]:
    """Measure all that is asked for.

    Args:
        lanes: Which.
        engine: On which engine; all that are here by default.
        edits: Made in what is measured, for tests of the gate.

    Raises:
        LaneError, TreeError: something can't be measured.
    """
    with (
        tree("head", edits=edits) as head,
        tree("without metrics", edits=(*edits, *WITHOUT_METRICS)) as without,
        tree("without tracing", edits=(*edits, *WITHOUT_TRACING)) as untraced,
    ):
        for each in [engine] if engine else engines_of(head):
            if "I" in lanes:
                yield from lane_i(head, without, untraced, each)
            if "R" in lanes:
                yield from lane_r(head, each)


def table(found: Sequence[Row]) -> str:
    """Lay rows out as text."""
    lines = [("lane", "engine", "what", "workload", "ratio", "budget", "verdict", "")]
    lines += [
        (
            each["lane"], each["engine"], each["what"], each["workload"], f"{each['ratio']:.4f}", f"{each['budget']:.2f}",
            colored(each["verdict"]), each["note"],
        )
        for each in found
    ]  # fmt: skip
    verdicts = [each["verdict"] for each in found]
    return f"{laid_out(lines, right=(4, 5))}\n\n{summary(verdicts)}"


def summary(verdicts: Sequence[str]) -> str:
    """Say in a sentence what came of it."""
    if not verdicts:
        return "budget: nothing was measured."
    if RED in verdicts:
        return f"budget: RED, {verdicts.count(RED)} of {len(verdicts)} are beyond it."
    if YELLOW in verdicts:
        return f"budget: yellow, {verdicts.count(YELLOW)} of {len(verdicts)} can't be told or are near it; nothing fails for that."
    return f"budget: green, all {len(verdicts)} are within it."


def kept(found: Sequence[Row], lane: str | None) -> dict[str, Any]:
    """Return the record that the documentation quotes; that the gates were tested is none of its business."""
    rows = [each for each in found if each["what"] != GATE]
    values: dict[str, Any] = {}
    for each in rows:
        of_engine = values.setdefault(each["lane"], {}).setdefault(each["engine"], {})
        of_engine.setdefault(each["what"].replace(" ", "_"), {})[each["workload"]] = round(each["ratio"], 4)
    laid = [
        [each["lane"], each["engine"], each["what"], each["workload"], f"{each['ratio']:.3f}", f"{each['budget']:.2f}", each["verdict"]]
        for each in rows
    ]  # fmt: skip
    columns = ["lane", "engine", "what", "workload", "share of the cost:", "budget:", "verdict"]
    command = f'make budget ARGS="--lane {lane}"' if lane else "make budget"
    return record(command, values, {"budget": Table(columns, laid)})


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m asv_bench.overhead", description="Measure what metrics cost (N4)."
    )
    parser.add_argument("--lane", choices=LANES, help="this lane only; both by default")
    parser.add_argument("--engine", choices=(PYTHON, RUST), help="on this engine only")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout instead of the table")
    offer_to_save(parser)
    parser.add_argument("--worker", metavar="ENGINE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    found: list[Row] = []
    code = 0
    try:
        if options.worker:
            work(options.worker)
            return 0
        lanes = [options.lane] if options.lane else list(LANES)
        if "I" in lanes and (why := instructions.missing()):
            progress(f"budget: lane I isn't measured, since {why}\n")
            lanes.remove("I")
            if not lanes:
                return 3
        found.extend(measured(lanes, options.engine))
    except (LaneError, TreeError) as error:
        progress(f"budget: {error}\n")
        code = 2
    except KeyboardInterrupt:
        progress("budget: interrupted\n")
        code = 130
    if options.worker:
        return code
    if options.save and code == 0:
        save("budget", kept(found, options.lane))
    if options.json:
        print(json.dumps({"rows": found, "partial": code != 0}))
    else:
        print(table(found) + (" (partial)" if code else ""))
    return code or int(any(each["verdict"] == RED for each in found))


if __name__ == "__main__":
    hear_interruptions()
    sys.exit(main())
