"""The service levels: what is timed is timed, and what is said about it is right. How long it takes is not tested here."""

import asyncio
import json
import subprocess

import pytest

from meridian.observability import LogConfig
from meridian.observability.logging import replace_config

pytest.importorskip("asv_bench.slo", reason="the benchmarks are not part of the wheel")

from asv_bench import engines, record, slo
from asv_bench.slo import FLOWS, LEVELS

pytestmark = pytest.mark.req("X3")


@pytest.fixture(autouse=True)
def quiet():
    replace_config(LogConfig(level="ERROR"))
    yield
    replace_config(LogConfig())


def test_every_level_gets_a_sample_of_each_call():
    samples = {**slo.by_hand(50), **asyncio.run(slo.at_work(50)), **asyncio.run(slo.alone(20))}
    samples |= asyncio.run(slo.there_and_back(20))
    counts = {id: len(each) for id, each in samples.items()}
    assert counts == {
        "enqueue": 50, "dequeue": 50, "emit": 50, "node": 49, "wake": 20, "hop": 40, "ping": 20, "sparse": 20,
    }  # fmt: skip
    assert set(counts) == {level.id for level in LEVELS}
    assert all(each >= 0 for found in samples.values() for each in found)


@pytest.mark.parametrize("id", FLOWS)
def test_every_flow_is_one_of_the_workloads(id):
    what, hops, run = FLOWS[id]
    assert callable(run)
    assert hops in (4, 16)
    assert what != ""


def test_a_level_has_an_objective_for_both_percentiles():
    assert [level.id for level in LEVELS if not 0 < level.p50_ns <= level.p99_ns] == []


def one_round(p50=500.0, p99=900.0, ns=100.0):
    return {
        **{level.id: {"p50": p50, "p99": p99} for level in LEVELS},
        **{id: {"ns": ns} for id in FLOWS},
    }


def answering(monkeypatch, results=None, interrupt=0):
    """Replace the processes; the n-th is interrupted."""
    asked = []

    def ask(engine):
        asked.append(engine)
        if len(asked) == interrupt:
            raise KeyboardInterrupt
        return (results or {}).get(engine, one_round())

    monkeypatch.setattr(slo, "ask", ask)
    monkeypatch.setattr(engines, "missing", lambda: "")
    return asked


def test_the_engines_take_turns_at_going_first(monkeypatch, capsys):
    asked = answering(monkeypatch)
    assert slo.main(["--rounds", "3", "--json"]) == 0
    assert asked == ["python", "rust", "rust", "python", "python", "rust"]
    found = json.loads(capsys.readouterr().out)
    assert (found["partial"], found["missed"]) == (False, [])
    assert found["values"]["enqueue"] == {
        "python": {"p50": 500, "p99": 900},
        "rust": {"p50": 500, "p99": 900},
    }
    assert found["values"]["flow_chain"]["rust"] == {"ns_per_hop": 100.0, "messages_per_s": 2_500_000.0}


def test_a_missed_objective_fails_only_where_that_was_asked_for(monkeypatch, capsys):
    answering(monkeypatch, {"python": one_round(p99=1e9)})
    assert slo.main(["--rounds", "3"]) == 0
    assert "missed: enqueue, python engine, p99" in capsys.readouterr().out
    assert slo.main(["--rounds", "3", "--check"]) == 1
    answering(monkeypatch)
    assert slo.main(["--rounds", "3", "--check"]) == 0


def test_the_result_is_the_median_of_the_rounds():
    rounds = {"python": [one_round(p50=each) for each in (1.0, 9.0, 2.0)]}
    assert slo.values(rounds)["node"]["python"]["p50"] == 2


def test_an_interruption_prints_what_there_is_and_keeps_nothing(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(record, "FIGURES", tmp_path / "figures")
    answering(monkeypatch, interrupt=2)
    assert slo.main(["--rounds", "3", "--save"]) == 130
    told = capsys.readouterr().out
    assert "Partial: interrupted." in told
    assert "| objective p50 | p99 | Python p50 | Python p99 |" in told
    assert not record.FIGURES.exists()
    answering(monkeypatch, interrupt=1)
    assert slo.main(["--rounds", "3", "--json"]) == 130
    assert json.loads(capsys.readouterr().out)["partial"] is True


def test_without_the_rust_engine_python_is_measured_alone(monkeypatch, capsys):
    asked = answering(monkeypatch)
    monkeypatch.setattr(engines, "missing", lambda: "there is no Rust engine here")
    assert slo.main(["--rounds", "3"]) == 0
    assert set(asked) == {"python"}
    told = capsys.readouterr()
    assert "there is no Rust engine here" in told.err
    assert "Rust" not in told.out.split("Measured on")[0].replace("native in Rust", "")


def test_what_is_kept_goes_where_the_documentation_looks(monkeypatch, tmp_path):
    monkeypatch.setattr(record, "FIGURES", tmp_path)
    answering(monkeypatch)
    assert slo.main(["--rounds", "3", "--save"]) == 0
    kept = json.loads((tmp_path / "slo.json").read_text(encoding="utf-8"))
    assert kept["command"] == "make bench-slo"
    assert [row[0] for row in kept["tables"]["latency"]["rows"]] == [level.what for level in LEVELS]
    assert len(kept["tables"]["throughput"]["rows"]) == len(FLOWS)


def test_a_process_that_breaks_or_runs_another_engine_is_an_error(monkeypatch, capsys):
    answers = iter([(1, ""), (0, json.dumps({"engine": "rust"}))])

    def run(command, **options):
        code, out = next(answers)
        return subprocess.CompletedProcess(command, code, out, "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(engines, "missing", lambda: "")
    assert slo.main(["--rounds", "3"]) == 2
    assert "on the python engine: exit code 1" in capsys.readouterr().err
    with pytest.raises(slo.MeasurementError, match="asked for the python engine, got rust"):
        slo.ask("python")


def test_wrong_arguments_are_refused(capsys):
    with pytest.raises(SystemExit):
        slo.main(["--rounds", "2"])
    assert "at least 3" in capsys.readouterr().err
