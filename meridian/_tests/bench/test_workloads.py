"""The benchmarks deliver what they claim to, at sizes that take no time; how fast they are is not tested here."""

import asyncio
import json
import subprocess
import sys

import pytest

from meridian.observability import LogConfig, NoopMetrics, configure_metrics
from meridian.observability.logging import replace_config

pytest.importorskip("asv_bench", reason="the benchmarks are not part of the wheel")
from asv_bench import baseline, gates, record, workloads
from asv_bench.shape import WrongResultError, triangle, verify
from asv_bench.verdict import FAIL, INCONCLUSIVE, NOT_MEASURED, PASS, Bound, interval, judge

HIGHER, LOWER = Bound(4.0, higher=True), Bound(0.5, higher=False)
STEADY = [5.0, 5.1, 4.9, 5.0, 5.2]


@pytest.fixture(autouse=True)
def quiet():
    replace_config(LogConfig(level="ERROR"))
    yield
    replace_config(LogConfig())
    configure_metrics(NoopMetrics())


# ---- workloads -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["plain", "async", "suspending", "envelope", "emit", "working", "class"])
def test_the_chain_delivers_its_checksum(style):
    assert asyncio.run(workloads.chain(300, style)) > 0


@pytest.mark.parametrize("style", ["plain", "emit", "class"])
def test_the_chain_delivers_its_checksum_at_capacity_1(style):
    assert asyncio.run(workloads.chain(50, style, capacity=1)) > 0


def test_the_chain_delivers_its_checksum_by_a_standing_clock():
    assert asyncio.run(workloads.chain(300, clock=gates.StandingClock())) > 0


def test_the_fan_delivers_its_checksum():
    assert asyncio.run(workloads.fan(100)) > 0


@pytest.mark.parametrize("measure", [workloads.build, baseline.build])
def test_a_built_graph_passes_its_first_message(measure):
    assert asyncio.run(measure(40)) > 0


@pytest.mark.parametrize("fn", [baseline.same, baseline.same_async, baseline.same_suspending])
def test_the_chain_by_hand_delivers_its_checksum(fn):
    assert asyncio.run(baseline.chain(300, fn)) > 0
    assert asyncio.run(baseline.chain(20, fn, capacity=1)) > 0


def test_the_batched_chain_by_hand_delivers_its_checksum():
    assert asyncio.run(baseline.batched(300)) > 0
    assert asyncio.run(baseline.batched_fan(100)) > 0


def test_the_fan_by_hand_delivers_its_checksum():
    assert asyncio.run(baseline.fan(50)) > 0


async def one_block(opened):
    async with opened as block:
        return await block(20)


@pytest.mark.parametrize("style", ["plain", "async"])
def test_every_ping_is_answered(style):
    assert asyncio.run(one_block(workloads.ping(style))) > 0


def test_every_pushed_ping_is_answered():
    assert asyncio.run(one_block(workloads.ping(push=True))) > 0


def test_every_ping_by_hand_is_answered():
    assert asyncio.run(one_block(baseline.ping())) > 0


@pytest.mark.parametrize("sparse", [workloads.sparse, baseline.sparse])
def test_every_message_of_a_sparse_graph_arrives(sparse):
    assert asyncio.run(one_block(sparse(40))) > 0


def test_memory_is_measured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MERIDIAN_ENGINE", "python")  # tracemalloc sees nothing of what Rust allocates
    at_rest, used = asyncio.run(workloads.memory_graph(20))
    assert 0 < at_rest < used
    assert 8 <= workloads.memory_message(2_000) < 16
    assert 48 <= asyncio.run(workloads.memory_envelope(500)) < 200


def test_a_wrong_checksum_is_refused():
    verify("fine", triangle(4), 6)
    with pytest.raises(WrongResultError, match="chain: the checksum is 5 and ought to be 6"):
        verify("chain", 5, 6)


# ---- verdicts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratios", "bound", "verdict"),
    [
        (STEADY, HIGHER, PASS),
        ([1 / ratio for ratio in STEADY], LOWER, PASS),
        ([3.0, 3.1, 2.9], HIGHER, FAIL),
        ([0.7, 0.8, 0.75], LOWER, FAIL),
        ([3.0, 5.0, 3.5, 4.6, 4.1], HIGHER, INCONCLUSIVE),
        ([4.0, 4.0, 4.0], HIGHER, PASS),  # the bound itself is good enough
        ([0.5, 0.5, 0.5], LOWER, PASS),
        ([9.0, 9.0], HIGHER, INCONCLUSIVE),  # too few to tell
        ([], HIGHER, INCONCLUSIVE),
    ],
)
def test_a_gate_is_judged_by_the_whole_interval(ratios, bound, verdict):
    assert judge(ratios, bound) == verdict


def test_one_outlier_decides_nothing():
    assert judge([5.0] * 8 + [0.1], HIGHER) == PASS


def test_an_exact_figure_needs_one_round():
    bound = Bound(64, higher=False)
    assert judge([64.0], bound, exact=True, widen=0.5) == PASS
    assert judge([65.0], bound, exact=True) == FAIL


def test_an_unfit_machine_widens_the_interval():
    assert interval([2.0, 2.0, 2.0]) == (2.0, 2.0)
    assert interval([2.0, 2.0, 2.0], 0.25) == (1.6, 2.5)
    assert judge([4.2] * 5, HIGHER) == PASS
    assert judge([4.2] * 5, HIGHER, widen=0.1) == INCONCLUSIVE


# ---- the report ----------------------------------------------------------------------------------------------------


def row(id="P1", ratios=(9.0, 9.1, 9.2), **kwargs):
    gate = next(gate for gate in gates.GATES if gate.id == id)
    return gates.Row(gate, ratios=list(ratios), ours=[150.0], base=[1400.0], **kwargs)


def test_there_is_a_row_for_each_of_the_twelve_gates():
    ids = {gate.id.rstrip("abc") for gate in gates.PYTHON_GATES}
    assert ids == {f"P{i}" for i in range(1, 13)} | {"import"}
    assert len({gate.id for gate in gates.GATES}) == len(gates.GATES)


def test_json_is_one_object_with_what_was_promised(capsys):
    rows = [
        gates.Row(gates.CONTROL, ratios=[1.0, 1.01, 0.99]),
        row(),
        row("P9b", [3.0, 3.0, 3.0]),
        row("P8c", []),
    ]
    gates.report(rows, False, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert [gate["id"] for gate in found["gates"]] == ["P1", "P9b", "P8c"]
    first, second, third = found["gates"]
    assert (first["ratio"], first["gate"], first["better"], first["verdict"]) == (9.1, 8, "higher", PASS)
    assert (second["ratio"], second["gate"], second["better"], second["verdict"]) == (3.0, 1.6, "lower", FAIL)
    assert (third["ratio"], third["verdict"]) == (None, INCONCLUSIVE)
    assert found["partial"] is False
    assert found["conditions"]["control"]["ratio"] == 1.0


def test_the_table_names_gate_verdict_and_what_was_not_measured(capsys):
    gates.report([row(), row("P8c", [], notes=["no such thing"])], True, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["id", "what", "ratio", "gate"]
    assert [word for word in lines[1].split() if word in ("P1", "9.10", ">=", "8", "pass")] == [
        "P1",
        "9.10",
        ">=",
        "8",
        "pass",
    ]
    assert "inconclusive" in lines[2].split()
    assert "P8c: no such thing." in lines
    assert "1 pass, 0 fail, 1 inconclusive (partial: interrupted)." in lines


def test_a_part_is_asked_for_by_its_gate():
    assert [gate.id for gate in gates.chosen("p3, P5")] == ["P3a", "P3b", "P5"]
    assert [gate.id for gate in gates.chosen("P10b,import")] == ["P10b", "import"]
    assert gates.chosen(None, full=True) == list(gates.GATES)
    with pytest.raises(ValueError, match="no gate p13: there are P1, P2a"):
        gates.chosen("P1,P13")


def test_without_a_wish_only_the_gates_are_measured():
    asked = gates.chosen(None)
    assert [gate for gate in asked if gate.id.startswith("P")] == list(gates.PYTHON_GATES[:-1])
    assert {gate.id[0] for gate in asked} == {"P", "R", "i"}


def test_when_the_time_is_up_no_gate_is_begun_and_the_table_says_so(monkeypatch, capsys):
    asked = scripted(monkeypatch, {"P1": ratios(9, 9, 9)})
    rows = []
    gates.measure_all(gates.chosen("P1,P5"), 3, 60.0, rows, limit_s=-1.0)
    assert asked == []
    assert {row.verdict for row in rows} == {NOT_MEASURED}
    gates.report(rows, False, as_json=False)
    assert "P1, P5: not measured: the -1 seconds were over (--full measures everything, --only some)." in (
        capsys.readouterr().out.splitlines()
    )


def test_only_whoever_asks_for_nothing_is_hurried(monkeypatch, capsys):
    limits = []
    monkeypatch.setattr(
        gates, "measure_all", lambda gates, rounds, seconds, rows, limit_s: limits.append((seconds, limit_s))
    )
    for arguments in ([], ["--full"], ["--only", "P1"], ["--seconds", "500"]):
        assert gates.main(arguments) == 0
    forever = float("inf")
    assert limits == [(75.0, 100.0), (240.0, forever), (75.0, forever), (500.0, forever)]


def test_the_record_has_all_rows_that_have_a_gate(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(record, "FIGURES", tmp_path)
    monkeypatch.delenv("FLOOR", raising=False)
    scripted(monkeypatch, {"P1": ratios(9, 9, 9), "control": ratios(1, 1, 1)})
    assert gates.main(["--full", "--save"]) == 0
    kept = json.loads((tmp_path / "gates.json").read_text(encoding="utf-8"))
    assert kept["command"] == 'make bench ARGS="--full"'
    assert kept["values"]["P1"] == {"ratio": 9.0, "rounds": 3, "verdict": PASS}
    assert kept["values"]["conditions"]["control"] == {"ratio": 1.0, "rounds": 3}
    assert kept["tables"]["python"]["rows"][0] == [
        "P1", "chain, plain functions", "&gt;= 8", "9.00", "9.00 to 9.00", "pass",
    ]  # fmt: skip
    assert len(kept["tables"]["python"]["rows"]) == len(gates.PYTHON_GATES)
    assert len(kept["tables"]["rust"]["rows"]) == len(gates.RUST_GATES) - 3
    assert kept["tables"]["missed"]["rows"] == []


def test_a_part_is_not_kept(capsys):
    with pytest.raises(SystemExit):
        gates.main(["--save"])
    assert "--save goes with --full" in capsys.readouterr().err


def scripted(monkeypatch, results):
    """Replace the processes by made-up results per gate id."""
    asked = []

    def run_gate(gate, rounds, seconds):
        asked.append(gate.id)
        for result in results.get(gate.id, []):
            if isinstance(result, BaseException):
                raise result
            yield result

    monkeypatch.setattr(gates, "run_gate", run_gate)
    return asked


def ratios(*values):
    return [{"ratio": value, "ours": 1.0, "base": value} for value in values]


def test_a_missed_gate_fails_only_where_that_was_asked_for(monkeypatch, capsys):
    scripted(monkeypatch, {"P1": ratios(3, 3, 3)})
    assert gates.main(["--only", "P1", "--json"]) == 0
    assert gates.main(["--only", "P1", "--json", "--check"]) == 1
    assert json.loads(capsys.readouterr().out.splitlines()[0])["gates"][0]["verdict"] == FAIL


def test_what_broke_is_said_and_the_rest_is_measured(monkeypatch, capsys):
    broke = subprocess.CalledProcessError(1, ["x"])
    asked = scripted(monkeypatch, {"P1": [broke], "P3a": ratios(9, 9, 9)})
    assert gates.main(["--only", "P1,P3a", "--json"]) == 2
    assert asked == ["control", "P1", "P3a"]
    found = json.loads(capsys.readouterr().out)["gates"]
    assert [(gate["verdict"], gate["note"]) for gate in found] == [
        (FAIL, "broke with exit code 1"),
        (PASS, "the base awaits the same function"),
    ]


def test_an_interruption_prints_what_there_is(monkeypatch, capsys):
    scripted(monkeypatch, {"P1": ratios(9, 9, 9), "P3a": [*ratios(9), KeyboardInterrupt()]})
    assert gates.main(["--only", "P1,P3,P5", "--json"]) == 130
    found = json.loads(capsys.readouterr().out)
    assert found["partial"] is True
    assert [(gate["id"], gate["rounds"]) for gate in found["gates"]] == [("P1", 3), ("P3a", 1)]


def test_the_control_widens_what_comes_after_it(monkeypatch, capsys):
    scripted(monkeypatch, {"control": ratios(1.2, 1.2, 1.2), "P1": ratios(9, 9, 9)})
    gates.main(["--only", "P1", "--json"])
    (found,) = json.loads(capsys.readouterr().out)["gates"]
    assert (found["spread"], found["verdict"]) == ([7.5, 10.8], INCONCLUSIVE)


def measured(gate, rounds):
    async def collect():
        return [result async for result in gates.measure(gate, rounds, 60.0)]

    return asyncio.run(collect())


def test_sides_alternate_and_each_round_gives_one_ratio():
    order = []

    async def ours():
        order.append("o")
        return 2.0

    async def base():
        order.append("b")
        return 12.0

    gate = gates.Gate("P1", "", HIGHER, "", open=gates.flows(ours, base))
    assert measured(gate, 3) == [{"ratio": 6.0, "ours": 2.0, "base": 12.0}] * 3
    assert "".join(order) == "obboboobobbo"


def test_a_thing_compared_with_itself_is_measured_twice():
    costs = iter([1.0, 2.0, 2.0, 1.0, *[1.0] * 8])

    async def side():
        return next(costs)

    gate = gates.Gate("control", "", Bound(1.0, higher=False), "", open=gates.flows(side, side))
    assert [result["ratio"] for result in measured(gate, 3)] == [0.5, 1.0, 1.0]


def test_an_inconclusive_gate_gets_twice_the_rounds():
    async def base():
        return 4.0

    count = 0

    async def ours():
        nonlocal count
        count += 1
        return 0.8 if (count + 1) // 2 % 2 else 1.2  # two samples of each side a round

    gate = gates.Gate("P1", "", HIGHER, "", open=gates.flows(ours, base))
    assert len(measured(gate, 3)) == 6


def test_a_worker_process_gives_one_line_of_json(capsys):
    # The cheapest gate, through a real process.
    results = list(gates.run_gate(next(gate for gate in gates.GATES if gate.id == "P11b"), 3, 30.0))
    assert [set(result) for result in results] == [{"ratio", "ours", "note"}]
    assert sys.modules["asv_bench"].__doc__
