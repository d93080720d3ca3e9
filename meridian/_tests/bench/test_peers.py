"""Meridian beside its peers: who is measured when, what is said about whom. How fast anybody is is not tested here."""

import ast
import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("asv_bench.peers", reason="the benchmarks are not part of the wheel")

from asv_bench import record
from asv_bench.peers import __main__ as command
from asv_bench.peers import environments, program, report, rounds
from asv_bench.peers.contenders import BASE, CONTENDERS, OURS, PEERS, V1, WORKLOADS, named
from asv_bench.peers.rounds import Row, order, rows_for
from asv_bench.shape import percentile
from asv_bench.v1_side_by_side import ProgramError, SetupError

pytestmark = pytest.mark.req("X3")

PACKAGE = Path(program.__file__).parent
PYTHONS = {environment: Path(environment) for environment in (OURS, PEERS, V1)}


def forms(module: str) -> dict[str, set[str]]:
    """The workloads of each form of a module, read from its text: its package needn't be here."""
    tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
    (made,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == "FORMS"
    )
    return {
        ast.literal_eval(form): {ast.literal_eval(workload) for workload in workloads.keys}
        for form, workloads in zip(made.keys, made.values, strict=True)
    }


# ---- who takes part --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda each: each.name)
def test_a_contender_has_each_workload_or_says_why_not(contender):
    has = forms(contender.module)[contender.form]
    assert has | set(contender.cannot) == set(WORKLOADS)
    assert has & set(contender.cannot) == set()
    assert contender.full != "" != contender.has


def test_both_engines_the_pipeline_by_hand_1_2_0_and_at_least_three_packages_take_part():
    assert {"Meridian, Rust engine", "Meridian, Python engine", BASE, "meridian-runtime 1.2.0"} <= {
        each.name for each in CONTENDERS
    }
    assert len({each.package for each in CONTENDERS if each.environment == PEERS} - {"python"}) >= 3
    assert named(BASE).name == BASE
    assert set(report.SHORT) == {each.name for each in CONTENDERS}


# ---- programs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "form", "workload"),
    [
        (module, form, workload)
        for module in ("meridian_", "by_hand")
        for form, workloads in forms(module).items()
        for workload in sorted(workloads)
    ],
)
def test_a_program_delivers_its_checksum(module, form, workload):
    async def sample():
        async with program.import_module(f"asv_bench.peers.{module}").FORMS[form][workload]() as take:
            return await take(40)

    figure = asyncio.run(sample())
    assert len(figure) == 40 if isinstance(figure, list) else figure > 0


@pytest.mark.parametrize(("call", "n"), [("chain", 200), ("fan", 70), ("sparse", 5)])
def test_the_program_for_1_2_0_delivers_its_checksum_on_whoever_runs_it(call, n):
    code = f"from asv_bench.peers import v1; assert v1.{call}({n}) > 0"
    subprocess.run([sys.executable, "-c", code], cwd=record.ROOT, check=True)


def test_samples_grow_until_they_cost_enough_and_those_before_are_forgotten():
    found = []
    asked = program.sizes(0.0, found)
    sizes = [next(asked)]
    for cheap in (10.0, 1_000.0):  # ns a hop
        sizes.append(asked.send(cheap))
    assert sizes == [16, 512, 8_000]
    for _ in range(program.LEAST_SAMPLES):  # the one that was large enough isn't counted, either
        assert asked.send(1_000.0) == 8_000
    with pytest.raises(StopIteration):
        asked.send(1_000.0)
    assert [each.figure for each in found] == [1_000.0] * program.LEAST_SAMPLES
    assert min(each.call_ns for each in found) > 0


def test_pings_count_by_what_they_took():
    assert program.spent(10, [3, 4]) == 7
    assert program.spent(10, 2.0) == 20


def test_a_percentile_is_one_of_the_samples():
    samples = list(range(100, 0, -1))
    assert (percentile(samples, 0.5), percentile(samples, 0.99), percentile([7], 0.99)) == (50, 99, 7)


def test_flows_are_summed_up_by_the_median_and_pings_by_percentiles():
    def taken(*figures):
        return [
            program.Taken(figure, call_ns) for figure, call_ns in zip(figures, (1.0, 10.0, 4.0), strict=False)
        ]

    assert program.summary(taken(1.0, 9.0, 2.0)) == {"calls": 0.9, "call_ns": 4.0, "samples": 3}
    assert program.summary(taken([1, 2, 3], [4, 5, 6])) == {
        "calls": 1.25, "call_ns": 5.5, "samples": 2, "p99_calls": 1.8,
    }  # fmt: skip


@pytest.mark.parametrize("opened", ["each_anew", "each_anew_without_loop"])
def test_programs_with_and_without_a_loop_are_measured(opened):
    from asv_bench.peers import flows

    async def flow(n):
        return 1e9 / n

    def plain(n):
        return 1e9 / n

    asked = getattr(flows, opened)(flow if opened == "each_anew" else plain)
    found = [each.figure for each in program.measure(asked, 0.0)]
    assert found == [1e9 / program.FIRST] * program.LEAST_SAMPLES


# ---- rounds ----------------------------------------------------------------------------------------------------------


def test_in_each_round_everybody_is_measured_once_and_another_one_is_first():
    rows = rows_for({})
    first, second = list(order(rows, 0)), list(order(rows, 1))
    measurable = [row for row in rows if not row.failed]
    assert sorted(map(id, first)) == sorted(map(id, second)) == sorted(map(id, measurable))
    assert first[0] is not second[0]


def answers(monkeypatch, failing=None, interrupt=0):
    """Replace the processes: everybody takes 100 ns, Meridian 10; ``failing`` breaks; the n-th question is interrupted."""
    asked = []

    def ask(row, python, seconds):
        asked.append((row.contender.name, row.workload))
        if len(asked) == interrupt:
            raise KeyboardInterrupt
        if row.contender.name == failing:
            raise ProgramError("boom")
        calls = 1.0 if row.contender.environment == OURS else 10.0
        of_pings = {"p99_calls": 2 * calls} if row.workload == "W3" else {}
        return {"calls": calls, "call_ns": 10.0, "version": "9", **of_pings}

    monkeypatch.setattr(rounds, "ask", ask)
    return asked


def test_who_fails_is_not_asked_again(monkeypatch):
    asked = answers(monkeypatch, failing="reactivex")
    rows = rows_for({})
    assert list(rounds.measure(rows, PYTHONS, 3, 0.0, float("inf"))) == [0, 1, 2]
    assert asked.count(("reactivex", "W1")) == 1
    assert asked.count((BASE, "W1")) == 3
    assert [row.failed for row in rows if row.contender.name == "reactivex" and row.workload == "W1"] == [
        "boom"
    ]


def test_no_round_is_begun_that_would_end_too_late(monkeypatch):
    asked = answers(monkeypatch)
    assert list(rounds.measure(rows_for({}), PYTHONS, 3, 0.0, float("-inf"))) == []
    assert asked == []


def test_a_ratio_is_taken_within_a_round():
    base = Row(named(BASE), "W1", calls={0: 10.0, 1: 40.0, 2: 100.0})
    ours = Row(CONTENDERS[0], "W1", calls={1: 10.0, 2: 50.0, 3: 1.0})
    assert ours.times(base) == [4.0, 2.0]


def test_a_process_that_fails_says_how_in_one_line(monkeypatch):
    row = Row(CONTENDERS[0], "nothing")
    with pytest.raises(ProgramError, match="KeyError: 'nothing'"):
        rounds.ask(row, Path(sys.executable), 0.0)

    def slow(*arguments, **options):
        raise subprocess.TimeoutExpired("x", 1)

    monkeypatch.setattr(subprocess, "run", slow)
    with pytest.raises(ProgramError, match="took longer than 60 s"):
        rounds.ask(row, Path(sys.executable), 0.0)


def test_a_process_is_told_its_engine(monkeypatch):
    def run(command, env, **options):
        return subprocess.CompletedProcess(command, 0, json.dumps({"engine": env["MERIDIAN_ENGINE"]}), "")

    monkeypatch.setattr(subprocess, "run", run)
    assert [rounds.ask(Row(named(f"Meridian, {name} engine"), "W1"), Path("x"), 0.0)["engine"] for name in ("Rust", "Python")] == [
        "rust", "python",
    ]  # fmt: skip


# ---- environments ----------------------------------------------------------------------------------------------------


@pytest.fixture
def build(monkeypatch, tmp_path):
    monkeypatch.setattr(environments, "BUILD", tmp_path)
    monkeypatch.setattr(environments, "ROOT", tmp_path)
    return tmp_path


def test_the_peers_are_installed_with_hashes_once_for_their_pins(monkeypatch, build):
    commands = []

    def run(command, **options):
        commands.append(command)
        python = build / "peers-env" / "bin" / "python"
        python.parent.mkdir(parents=True, exist_ok=True)
        python.touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert environments.peers() == environments.peers() == build / "peers-env" / "bin" / "python"
    assert [("venv" in each, "--require-hashes" in each) for each in commands] == [
        (True, False),
        (False, True),
    ]
    (build / "peers-env" / "pins").write_text("other pins", encoding="utf-8")
    environments.peers()
    assert len(commands) == 4


def test_an_environment_that_cant_be_made_is_said_and_the_others_are_used(monkeypatch, build, capsys):
    def run(command, **options):
        return subprocess.CompletedProcess(command, 1, "", "a\nno such host")

    def refuse(venv):
        raise SetupError("no 1.2.0")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(environments.v1_side_by_side, "interpreter", refuse)
    pythons, missing = environments.interpreters({OURS, PEERS, V1})
    assert pythons == {OURS: Path(sys.executable)}
    assert set(missing) == {PEERS, V1}
    told = capsys.readouterr().err
    assert "no such host" in told
    assert "no 1.2.0" in told


# ---- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def prepared(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "interpreters", lambda asked: (PYTHONS, {}))
    monkeypatch.setattr(report, "plot", lambda rows, made, partial, path: path.touch())
    monkeypatch.setattr(record, "FIGURES", tmp_path / "figures")
    monkeypatch.setattr(command, "FIGURES", tmp_path / "figures")
    return ["--rounds", "3", "--out", str(tmp_path / "out")]


def page(arguments):
    return (Path(arguments[-1]) / "peers.md").read_text(encoding="utf-8")


def test_the_command_leaves_table_plot_and_data(monkeypatch, prepared, capsys):
    answers(monkeypatch)
    assert command.main(["--json", *prepared]) == 0
    found = json.loads(capsys.readouterr().out)
    assert json.loads((Path(prepared[-1]) / "peers.json").read_text(encoding="utf-8")) == found
    assert (Path(prepared[-1]) / "peers.svg").exists()
    assert (found["partial"], found["values"]["W1"]["rust"]["times"]) == (False, 10.0)
    assert found["values"]["W3"]["python"] == {
        "median": 0.01, "rounds": 3, "spread": [0.01, 0.01], "p99": 0.02, "times": 10.0,
    }  # fmt: skip
    assert found["versions"]["reactivex"] == "9"
    assert {each["contender"] for each in found["not_measured"] if each["workload"] == "W2"} == {"aiostream"}
    text = page(prepared)
    assert "| **Meridian, Rust engine** | 10.0 | 10.0 | 10.0 to 10.0 |" in text
    assert "| aiostream | W2 | a stream has one consumer |" in text
    assert "Partial" not in text


def test_who_fails_is_listed_with_the_reason_and_the_exit_code_tells(monkeypatch, prepared, capsys):
    answers(monkeypatch, failing="streamz")
    assert command.main(prepared) == 1
    assert "| streamz | W1, W2, W3, W4, work | boom |" in page(prepared)
    assert page(prepared) in capsys.readouterr().out


def test_without_an_environment_its_contenders_are_listed_with_the_reason(monkeypatch, prepared):
    answers(monkeypatch)
    monkeypatch.setattr(command, "interpreters", lambda asked: (PYTHONS, {V1: "no network"}))
    assert command.main(prepared) == 1
    assert "| meridian-runtime 1.2.0 | W1, W2, W3, W4, work | no network |" in page(prepared)


def test_an_interruption_leaves_what_there_is_marked_as_partial(monkeypatch, prepared, capsys):
    answers(monkeypatch, interrupt=20)
    assert command.main(["--json", "--save", *prepared]) == 130
    found = json.loads(capsys.readouterr().out)
    assert found["partial"] is True
    assert found["values"]["W1"]["rust"]["rounds"] == 1
    assert "**Partial: it ended after 1 rounds.**" in page(prepared)
    assert not record.FIGURES.exists()  # half of it is nothing for the documentation


def test_an_interruption_while_setting_up_is_one_too(monkeypatch, prepared):
    def interpreters(asked):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "interpreters", interpreters)
    assert command.main(prepared) == 130
    assert "Partial" in page(prepared)


def test_only_what_is_kept_goes_where_the_documentation_looks(monkeypatch, prepared):
    answers(monkeypatch)
    assert command.main(["--save", *prepared]) == 0
    kept = json.loads((record.FIGURES / "peers.json").read_text(encoding="utf-8"))
    assert (kept["command"], "partial" in kept) == ("make bench-peers", False)
    assert set(kept["tables"]) == {*WORKLOADS, "traits"}
    assert (record.FIGURES / "peers.svg").exists()


def test_wrong_arguments_are_refused(capsys):
    with pytest.raises(SystemExit):
        command.main(["--rounds", "2"])
    assert "at least 3" in capsys.readouterr().err


def test_the_plot_names_everybody_and_says_when_it_is_partial(monkeypatch, tmp_path):
    pytest.importorskip("matplotlib", reason="only `make bench` and its kin install it")
    answers(monkeypatch)
    rows = rows_for({})
    list(rounds.measure(rows, PYTHONS, 3, 0.0, float("inf")))
    made = record.record(report.COMMAND, report.values(rows), others=report.others(rows))
    report.plot(rows, made, True, tmp_path / "peers.svg")
    drawn = (tmp_path / "peers.svg").read_text(encoding="utf-8")
    assert [each.name for each in CONTENDERS if f">{each.name}<" not in drawn] == []
    assert "PARTIAL" in drawn


@pytest.mark.parametrize(
    ("value", "text"), [(12345.6, "12,346"), (99.96, "100.0"), (1.234, "1.23"), (0.0123, "0.012")]
)
def test_figures_have_the_digits_that_they_are_worth(value, text):
    assert report.digits(value) == text
