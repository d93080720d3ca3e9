"""The engines beside each other: what their rows say, how their processes answer. How fast they are is not tested here."""

import asyncio
import importlib
import json
import os
import subprocess
import sys
from pkgutil import iter_modules
from types import SimpleNamespace

import pytest

from meridian.engine import select
from meridian.engine.select import EngineChoice
from meridian.observability import LogConfig
from meridian.observability.logging import replace_config

pytest.importorskip("asv_bench", reason="the benchmarks are not part of the wheel")
from asv_bench import baseline, engines, gates, operations, overhead, probe, watched, workloads
from asv_bench.benchmarks._blocks import Block
from asv_bench.benchmarks._engine import ENGINES, SKIPPED, Clock, choose
from asv_bench.shape import WrongResultError
from asv_bench.verdict import FAIL, INCONCLUSIVE, NO_GATE, NOT_MEASURED, PASS, worst

pytestmark = pytest.mark.req("X3")


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv(
        "MERIDIAN_ENGINE", os.environ.get("MERIDIAN_ENGINE", "auto")
    )  # put back what a test sets
    monkeypatch.delenv("FLOOR", raising=False)
    replace_config(LogConfig(level="ERROR"))
    yield
    replace_config(LogConfig())


def choosing(monkeypatch, name, reason="so it was decided"):
    monkeypatch.setattr(select, "choose", lambda asked: EngineChoice(name, reason))


# ---- workloads -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slice", [64, 1])
def test_the_native_nodes_count_every_word(slice):
    assert asyncio.run(workloads.native(200, slice=slice)) > 0


def test_the_chain_delivers_its_checksum_in_slices_of_one():
    assert asyncio.run(workloads.chain(100, slice=1)) > 0


@pytest.mark.parametrize("measure", [workloads.put_and_get, workloads.messages_made, workloads.emitted])
def test_single_calls_are_counted(measure):
    assert asyncio.run(measure(100)) > 0


async def two_blocks(opened, count):
    async with opened as block:
        return [await block(count), await block(count)]


def test_the_loop_answers_without_a_graph():
    assert min(asyncio.run(two_blocks(baseline.loop_pass(), 20))) > 0


def test_a_ping_less_the_loops_share_is_a_figure():
    assert all(isinstance(each, float) for each in asyncio.run(two_blocks(workloads.ping_without_loop(), 20)))


on_linux = pytest.mark.skipif(
    not workloads.ROLLUP.exists(), reason="only Linux tells how much memory a process has of its own"
)


@on_linux
@pytest.mark.parametrize(
    "opened",
    [
        lambda: workloads.resident_graph(used=False),
        lambda: workloads.resident_graph(used=True),
        workloads.resident_edges,
        workloads.resident_messages,
        workloads.resident_envelopes,
    ],
)
def test_what_the_system_holds_for_us_is_asked_for(opened):
    # Any figure may come out: there may be room that tests before it left. The checksums are what is tested.
    assert len(asyncio.run(two_blocks(opened(), 100))) == 2


# ---- processes -----------------------------------------------------------------------------------------------------


def test_every_engine_row_names_a_workload_that_there_is():
    for opened in engines.WORKLOADS.values():
        assert callable(opened)
    for gate in gates.RUST_GATES:
        assert gate.open is not None
        assert gate.missing is not None


def test_a_workload_answers_from_a_process_of_its_own():
    async def ask():
        async with engines.on("python", "emitted") as sample:
            return [await sample(), await sample()]

    assert min(asyncio.run(ask())) > 0


@on_linux
def test_what_is_kept_in_a_fresh_process_is_held_by_the_system():
    async def ask():
        async with engines.on("python", "kept envelope") as sample:
            return await sample()

    assert asyncio.run(ask()) > 32


def test_both_sides_of_a_row_are_such_processes():
    async def ask():
        async with engines.beside("emitted", "python", "python")() as (ours, base):
            return [await ours(), await base()]

    assert min(asyncio.run(ask())) > 0


def test_a_process_that_breaks_is_an_error(capfd):
    async def ask():
        async with engines.on("python", "no such workload"):
            raise AssertionError("there is none")

    with pytest.raises(
        engines.EngineProcessError, match="no such workload: its process ended with exit code 1"
    ):
        asyncio.run(ask())
    assert "KeyError" in capfd.readouterr().err


def test_a_process_on_another_engine_is_an_error(monkeypatch):
    async def answer(process, name):
        return "rust"

    monkeypatch.setattr(engines, "_answer", answer)

    async def ask():
        async with engines.on("python", "emitted"):
            raise AssertionError("it is another one")

    with pytest.raises(engines.EngineProcessError, match="asked for the python engine, got rust"):
        asyncio.run(ask())


# ---- rows ----------------------------------------------------------------------------------------------------------


def test_there_is_a_row_for_each_gate_of_the_rust_engine_and_for_each_workload():
    ids = [gate.id for gate in gates.RUST_GATES]
    families = {id.rstrip("abcde") for id in ids}
    assert families == {"R1", "R2", "R3", "R4", "R5", "R8", *(f"W{i}" for i in range(1, 7)), "M1", "M2", "M3"}
    assert [gate.id for gate in gates.chosen("r")] == [id for id in ids if id.startswith("R")]
    assert [gate.id for gate in gates.chosen("R1,w4b,M")] == ["R1a", "R1b", "W4b", "M1", "M2", "M3"]


def test_no_workload_may_be_slower_or_larger():
    for gate in gates.RUST_GATES:
        if gate.id.startswith("W"):
            assert str(gate.bound) == ("<= 1" if gate.unit == "B" else ">= 1")


def test_the_engine_is_missing_for_the_reason_that_the_choice_gives(monkeypatch):
    choosing(monkeypatch, "python", "meridian_fast is not installed")
    assert engines.missing() == "there is no Rust engine here (meridian_fast is not installed)"
    choosing(monkeypatch, "rust")
    assert engines.missing() == ""


def asked_of(monkeypatch, results):
    """Replace the processes by made-up results per gate id."""
    asked = []

    def run_gate(gate, rounds, seconds):
        asked.append(gate.id)
        return iter(results.get(gate.id, ()))

    monkeypatch.setattr(gates, "run_gate", run_gate)
    return asked


def results(*ratios, ours=1.0):
    return [{"ratio": ratio, "ours": ours, "base": ratio} for ratio in ratios]


def test_without_the_engine_its_rows_say_so_and_nothing_fails(monkeypatch, capsys):
    choosing(monkeypatch, "python", "meridian_fast is not installed")
    asked = asked_of(monkeypatch, {"P1": results(9, 9, 9)})
    assert gates.main(["--only", "P1,R,W,M", "--json", "--check"]) == 0
    assert asked == ["control", "P1"]
    found = json.loads(capsys.readouterr().out)["gates"]
    assert {row["verdict"] for row in found[1:]} == {NOT_MEASURED}
    assert {row["note"] for row in found[1:]} == {
        "there is no Rust engine here (meridian_fast is not installed)"
    }


def test_why_rows_were_not_measured_stands_in_the_table_once(monkeypatch, capsys):
    choosing(monkeypatch, "python", "none")
    asked_of(monkeypatch, {})
    assert gates.main(["--only", "R2,W2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "R2, W2: not measured: there is no Rust engine here (none)." in lines
    assert "0 pass, 0 fail, 0 inconclusive, 2 not measured." in lines


def test_each_sort_of_rows_is_widened_by_a_control_of_its_own(monkeypatch, capsys):
    choosing(monkeypatch, "rust")
    asked = asked_of(monkeypatch, {
        "control": results(1.1, 1.1, 1.1), "P1": results(9, 9, 9),
        "control_r": results(1.2, 1.2, 1.2), "R1a": results(1.3, 1.3, 1.3), "W2": results(1.3, 1.3, 1.3),
    })  # fmt: skip
    gates.main(["--only", "P1,R1,W2", "--json"])
    assert asked == ["control", "P1", "control_r", "R1a", "W2"]
    found = json.loads(capsys.readouterr().out)
    rows = {row["id"]: row for row in found["gates"]}
    assert {id: row["verdict"] for id, row in rows.items()} == {
        "P1": PASS, "R1a": INCONCLUSIVE, "R1b": NOT_MEASURED, "W2": PASS,
    }  # fmt: skip
    assert rows["R1a"]["spread"] == [pytest.approx(1.3 / 1.2, abs=1e-3), pytest.approx(1.56)]
    assert rows["R1b"]["note"] == "the C probe is measured where FLOOR names the folder of its floor.c"
    assert (found["conditions"]["control"]["ratio"], found["conditions"]["control_r"]["ratio"]) == (1.1, 1.2)


def test_the_clock_of_the_machine_says_nothing_about_memory(monkeypatch, capsys):
    choosing(monkeypatch, "rust")
    monkeypatch.setattr(workloads, "ROLLUP", workloads.Path(__file__))
    asked_of(monkeypatch, {"control_r": results(1.2, 1.2, 1.2), "R8": results(0.9, 0.9, 0.9)})
    gates.main(["--only", "R8", "--json"])
    assert json.loads(capsys.readouterr().out)["gates"][0]["verdict"] == PASS


def test_memory_that_cant_be_seen_is_not_measured(monkeypatch):
    choosing(monkeypatch, "rust")
    monkeypatch.setattr(workloads, "ROLLUP", workloads.Path("/no/such/file"))
    assert gates.unseen() == "/no/such/file is needed to see all of the memory"


@pytest.mark.parametrize(
    ("ratio", "ns", "verdict"), [(70.0, 20.0, PASS), (70.0, 30.0, FAIL), (50.0, 20.0, FAIL)]
)
def test_native_nodes_have_to_hold_both_of_their_gates(ratio, ns, verdict):
    (gate,) = gates.chosen("R4a")
    assert gates.Row(gate, ratios=[ratio] * 3, ours=[ns] * 3).verdict == verdict


def test_the_worst_of_several_verdicts_counts():
    assert worst([PASS, PASS]) == PASS
    assert worst([PASS, INCONCLUSIVE]) == INCONCLUSIVE
    assert worst([FAIL, INCONCLUSIVE, PASS]) == FAIL


def test_single_calls_are_shown_and_not_judged(capsys):
    (gate,) = gates.chosen("M1")
    row = gates.Row(gate, ratios=[0.1] * 3, ours=[10.0] * 3, base=[1.0] * 3)
    assert (row.verdict, row.as_json()["gate"], row.as_json()["better"]) == (NO_GATE, None, "higher")
    gates.report([row], False, as_json=False)
    assert "no gate" in capsys.readouterr().out


# ---- the probe in C ------------------------------------------------------------------------------------------------


def test_the_probe_is_only_there_where_floor_names_it(monkeypatch, tmp_path):
    assert probe.missing() == "the C probe is measured where FLOOR names the folder of its floor.c"
    monkeypatch.setenv("FLOOR", str(tmp_path))
    assert probe.missing() == f"FLOOR={tmp_path} has no floor.c"
    (tmp_path / "floor.c").touch()
    monkeypatch.setattr(probe, "which", lambda name: None)
    assert probe.missing() == "there is no cc to compile the C probe with"
    monkeypatch.setattr(probe, "which", lambda name: name)
    assert probe.missing() == ""


def test_a_probe_that_does_not_compile_is_an_error(monkeypatch, tmp_path):
    (tmp_path / "floor.c").touch()
    monkeypatch.setenv("FLOOR", str(tmp_path))
    monkeypatch.setattr(probe, "BUILT", tmp_path / "built")

    def run(command, check):
        assert str(tmp_path / "floor.c") in command
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(subprocess.CalledProcessError):
        probe.load()


def passing(skipped):
    def chain(handlers, n, capacity, batch, mode):
        *nodes, last = handlers
        for i in range(skipped, n):
            for each in nodes:
                i = each(i)
            last(i)

    return SimpleNamespace(chain=chain)


def test_the_probe_has_to_deliver_its_checksum():
    assert probe.chain(passing(skipped=0), 10) > 0
    with pytest.raises(WrongResultError, match="C probe: the checksum is 44 and ought to be 45"):
        probe.chain(passing(skipped=2), 10)


# ---- asv -----------------------------------------------------------------------------------------------------------


BENCHMARKS = [
    each.name
    for each in iter_modules([str(engines.ROOT / "asv_bench" / "benchmarks")])
    if each.name[0] != "_"
]


def test_asv_skips_an_engine_that_is_not_there(monkeypatch):
    choosing(monkeypatch, "python", "none")
    with pytest.raises(NotImplementedError, match=r"no Rust engine here \(none\)"):
        choose("rust")
    choose("python")
    Block().teardown("rust")  # asv tears down what it skipped, too


def test_why_a_benchmark_is_skipped_is_noted_where_asv_keeps_no_reasons(monkeypatch, tmp_path):
    choosing(monkeypatch, "python", "none")
    noted = tmp_path / "skipped"
    monkeypatch.setenv(SKIPPED, str(noted))
    monkeypatch.setattr(sys, "argv", ["server.py", "run", "benchmarks", "fan.Fan.time_fan-1", "{}"])
    with pytest.raises(NotImplementedError):
        choose("rust")
    assert json.loads(noted.read_text()) == {
        "benchmark": "fan.Fan.time_fan-1",
        "why": "there is no Rust engine here (none)",
    }


def test_another_engine_than_was_asked_for_is_an_error(monkeypatch):
    choosing(monkeypatch, "rust")
    with pytest.raises(RuntimeError, match="asked for the python engine, got rust"):
        choose("python")


def test_the_clock_of_the_benchmarks_counts_what_a_workload_measured_and_nothing_else():
    clock = Clock()
    before = clock()
    clock.add(1500.0)
    assert clock() - before == pytest.approx(1.5e-6)
    assert clock() == clock()


def test_every_benchmark_for_asv_has_the_engine_as_its_first_parameter_but_for_what_no_engine_takes_part_in():
    found = []
    for name in BENCHMARKS:
        module = importlib.import_module(f"asv_bench.benchmarks.{name}")
        for made in vars(module).values():
            own = isinstance(made, type) and made.__module__ == module.__name__
            if own and made.params and name != "redaction":
                found.append(made.__name__)
                params = made.params if made.params == ENGINES else made.params[0]
                assert (params, made.param_names[0]) == (ENGINES, "engine")
    assert {"Build", "Calls", "Chain", "Edges", "Native", "Fan", "Resident", "Ready", "Sparse"} <= set(found)


def test_the_parameters_of_the_benchmarks_are_those_that_the_operations_know():
    edges, validators = (
        importlib.import_module(f"asv_bench.benchmarks.{name}") for name in ("edges", "validators")
    )
    assert edges.Edges.params[1:] == (tuple(operations.POLICIES), tuple(operations.LIMITS))
    assert validators.Schema.params[1] == tuple(operations.SCHEMAS)
    redaction = importlib.import_module("asv_bench.benchmarks.redaction")
    assert redaction.Texts.params == (tuple(operations.TEXTS),)


@pytest.mark.req("N4")
def test_the_history_follows_what_the_lanes_of_instructions_and_of_metrics_judge():
    lanes = importlib.import_module("asv_bench.benchmarks.lanes")
    assert set(lanes.OPERATIONS) <= set(watched.OPERATIONS)
    assert lanes.BUDGETED == overhead.WORKLOADS


def test_the_benchmarks_for_asv_leave_the_choice_of_the_engine_to_their_setup():
    code = (
        "import sys, importlib\n"
        f"for name in {BENCHMARKS}:\n"
        "    importlib.import_module('asv_bench.benchmarks.' + name)\n"
        "assert 'meridian' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=engines.ROOT, check=True)
