"""The stress scenarios play, can be played again from their seed, and see what is wrong; how long they hold is not tested here."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from random import Random
from typing import Any

import pytest

from meridian import graph, sink, source, via
from meridian.observability import LogConfig
from meridian.observability.logging import get_logger, replace_config
from meridian.runtime.report import EdgeReport
from stress import cli, play, record, report, scenarios, slope, suite, watch
from stress.scenario import (
    CAPACITY,
    CONSERVATION,
    LEFT_OVER,
    MEMORY,
    NO_LOSS,
    ORDER,
    REASON,
    SENTENCES,
    WAITS,
    Account,
    Invariant,
    Meter,
    Round,
    Scenario,
)
from stress.traffic import PER_PRODUCER, Producer, Tally

ALL = scenarios.names()


@pytest.fixture(autouse=True)
def quiet():
    kept = get_logger().config
    play.quietly()
    yield
    replace_config(kept if isinstance(kept, LogConfig) else LogConfig())


def played(
    scenario: Scenario, folder: Path, *, seed: int = 1, rounds: int = 1, tell: Any = lambda *told: None
):
    return play.Play(scenario, seed, play.Limit(60.0, rounds, "test"), folder, tell).run()


def a_scenario(play_round: Any, *invariants: str, **options: Any) -> Scenario:
    return Scenario("made-up", "Made up.", play_round, invariants, **options)


# ---- the scenarios -----------------------------------------------------------------------------------------------------


@pytest.mark.req("V3", "V4", "V6", "V7", "V8", "V9", "V13", "V14")
@pytest.mark.parametrize("name", ALL)
def test_every_scenario_is_kept_for_the_rounds_that_look_at_everything(name, engine, tmp_path):
    scenario = scenarios.load(name)
    result = played(scenario, tmp_path, rounds=min(scenario.least, 4))
    assert result["error"] is None
    assert {each: found["told"] for each, found in result["invariants"].items() if found["broken"]} == {}
    assert {each for each, found in result["invariants"].items() if not found["checks"]} <= {MEMORY}
    assert result["engine"] == os.environ["MERIDIAN_ENGINE"]
    assert result["messages"] > 0


@pytest.mark.parametrize("name", ALL)
def test_a_scenario_is_called_as_its_module_and_says_what_it_looks_at(name):
    scenario = scenarios.load(name)
    assert scenario.name == name
    assert scenario.sentence.endswith(".")
    assert set(scenario.invariants) <= set(SENTENCES) - {LEFT_OVER}


@pytest.mark.parametrize(
    "name", [name for name in ALL if scenarios.load(name).virtual and name != "ten-thousand-nodes"]
)
def test_a_seed_plays_the_same_again(name, tmp_path):
    first, second = (played(scenarios.load(name), tmp_path, seed=12) for _ in range(2))
    kept = ("messages", "rounds", "verdict")
    assert [first[key] for key in kept] == [second[key] for key in kept]
    counts = [
        {each: found["checks"] for each, found in result["invariants"].items()} for result in (first, second)
    ]
    assert counts[0] == counts[1]


@pytest.mark.req("V14")
@pytest.mark.parametrize("fault", ["lost-wake-up", "swallow", "left-task"])
def test_a_planted_fault_turns_its_scenario_red(fault):
    from stress.planted import FAULTS, found
    from stress.planted import play as play_with

    planted = FAULTS[fault]
    assert found(planted, play_with(planted.scenario, "python", fault, seed=5))


def test_the_page_names_every_invariant_and_every_fault(root):
    from stress.planted import FAULTS

    page = (root / "docs/how-to/stress.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    told = {row[0]: row[1].replace("`", "") for row in rows if len(row) == 2}
    assert {name: told[name] for name in SENTENCES} == SENTENCES
    faults = {
        f"`{name}`: {fault.sentence[:1].lower()}{fault.sentence[1:-1]}": f"{fault.scenario}, {fault.invariant}"
        for name, fault in FAULTS.items()
    }
    assert {row: told.get(row) for row in faults} == faults


# ---- what a round looks at ---------------------------------------------------------------------------------------------


def a_round(*invariants: str) -> Round:
    return Round("made-up", 3, Meter(), {name: Invariant() for name in invariants})


@pytest.fixture
def edge():
    (made,) = graph("g", source([], name="a") >> via(capacity=4) >> sink(lambda x: None, name="b")).edges
    return made


@pytest.mark.parametrize(
    ("wrong", "counts"),
    [
        (set(), {"accepted": 10, "delivered": 7, "depth": 3}),
        ({CONSERVATION}, {"accepted": 9, "delivered": 7, "depth": 2}),
        ({CONSERVATION}, {"accepted": 10, "delivered": 8, "depth": 2}),
        ({CONSERVATION, CAPACITY}, {"accepted": 12, "delivered": 7, "depth": 5}),
        ({NO_LOSS}, {"accepted": 10, "delivered": 7, "depth": 2, "lost": {"dropped": 1}}),
        ({NO_LOSS}, {"accepted": 10, "delivered": 7, "depth": 2, "merged": 1}),
    ],
)
def test_an_account_sees_what_the_report_gets_wrong(edge, wrong, counts):
    looked = a_round(CONSERVATION, CAPACITY, NO_LOSS)
    account = Account(edge, lambda: 10, lambda: 7, exact=True, blocks=True)
    found = EdgeReport(edge.id, "block", 4, **{"merged": 0, "lost": {}, **counts})
    account.look(looked, found, 0, over=False)
    assert {name for name, each in looked.invariants.items() if each.broken} == wrong


def test_an_account_between_coroutines_is_exact_only_at_the_end(edge):
    looked = a_round(CONSERVATION, CAPACITY, NO_LOSS)
    account = Account(edge, lambda: 10, lambda: 6, exact=False, blocks=True)
    found = EdgeReport(edge.id, "block", 4, 9, 7, 2, 0, {})
    account.look(looked, found, 0, over=False)
    assert looked.invariants[CONSERVATION].broken == 0
    account.look(looked, found, 0, over=True)
    assert looked.invariants[CONSERVATION].broken == 1


@pytest.mark.parametrize(
    ("numbers", "lost", "broken"),
    [([0, 1, 2], 0, 0), ([0, 2], 1, 0), ([0, 2], 0, 1), ([0, 2, 1], 0, 2), ([0, 1, 1, 2], 0, 1)],
)
def test_a_tally_sees_gaps_repetitions_and_disorder(numbers, lost, broken):
    looked = a_round(ORDER, "checksums at the sinks")
    producer = Producer(looked, 5, 3, looks=False)
    assert len(list(producer.items())) == 3
    tally = Tally(looked)
    for number in numbers:
        tally.end(5 * PER_PRODUCER + number)
    tally.over(producer, lost=lost)
    assert looked.invariants[ORDER].broken == broken


@pytest.mark.req("V4")
def test_a_wait_that_never_ends_is_told_with_who_waits(tmp_path):
    async def stands_still(round: Round) -> None:
        await asyncio.get_running_loop().create_future()

    result = played(a_scenario(stands_still, WAITS), tmp_path)
    assert result["verdict"] == record.BROKEN
    ((seed, text),) = result["invariants"][WAITS]["told"]
    assert seed == 1
    assert "stands_still" in text


def test_an_unplanned_exception_breaks_the_play_and_tells_no_payload(tmp_path):
    async def fails(round: Round) -> None:
        raise ValueError("a secret")

    result = played(a_scenario(fails), tmp_path)
    assert result["verdict"] == record.BROKEN
    assert result["error"].startswith("ValueError at test_stress.py")
    assert "a secret" not in json.dumps(result)


def test_a_task_and_a_descriptor_that_stay_are_seen(tmp_path):
    files = []

    async def untidy(round: Round) -> None:
        files.append(open(os.devnull, encoding="ascii"))  # noqa: SIM115 - it is to stay open
        round.task = asyncio.create_task(asyncio.Event().wait())  # type: ignore[attr-defined]  # kept from the collector

    result = played(a_scenario(untidy), tmp_path)
    for file in files:
        file.close()
    texts = [text for _, text in result["invariants"][LEFT_OVER]["told"]]
    assert texts[0] == "1 tasks go on"
    assert texts[1].endswith("before")


def test_an_invariant_that_nothing_looked_at_counts_as_broken(tmp_path):
    async def looks_at_nothing(round: Round) -> None:
        await asyncio.sleep(0)

    result = played(a_scenario(looks_at_nothing, REASON), tmp_path)
    assert (result["verdict"], result["error"]) == (record.BROKEN, f"never looked at: {REASON}")


@pytest.mark.req("V8")
def test_a_run_that_ends_for_another_reason_is_seen(tmp_path):
    async def stopped(round: Round) -> None:
        scheduler = round.scheduler(graph("g", source(range(9), name="a") >> sink(lambda x: None, name="b")))
        scheduler.shutdown()
        round.ended(await scheduler.run_async())

    invariants = (REASON, WAITS, "failures are recorded, and nothing else fails")
    result = played(a_scenario(stopped, *invariants), tmp_path)
    assert "'shutdown' instead of 'finished'" in result["invariants"][REASON]["told"][0][1]


def test_the_first_broken_round_ends_the_play_and_can_be_played_again(tmp_path):
    async def breaks_on_nine(round: Round) -> None:
        round.check(REASON, round.seed != 9, "it is nine")

    result = played(a_scenario(breaks_on_nine, REASON), tmp_path, seed=7, rounds=99)
    assert result["rounds"] == 3
    assert result["invariants"][REASON]["told"] == [(9, "it is nine")]
    assert result["replay"].endswith("--seed 9 --rounds 1")
    assert cli.wrong(result)[0] == f"seed 9: {REASON}: it is nine"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_a_partial_result(number, tmp_path):
    async def nothing(round: Round) -> None:
        round.check(REASON, True, "")

    def interrupt(rounds: int, messages: int, elapsed_s: float) -> None:
        if rounds == 3:
            signal.raise_signal(number)

    result = played(a_scenario(nothing, REASON), tmp_path, rounds=99, tell=interrupt)
    assert (result["verdict"], result["partial"], result["rounds"]) == (record.PARTIAL, True, 3)
    assert record.read(tmp_path / "result.json")["partial"] is True
    assert record.exit_code(result["verdict"]) == 130


def test_a_second_interruption_cuts_a_round_short_and_drops_its_verdicts(tmp_path):
    async def is_cut_short(round: Round) -> None:
        round.check(REASON, round.seed < 3, "half a round says nothing")
        if round.seed == 3:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    result = played(a_scenario(is_cut_short, REASON), tmp_path, rounds=99)
    assert (result["verdict"], result["rounds"]) == (record.PARTIAL, 2)
    assert result["invariants"][REASON] == {"checks": 2, "broken": 0, "told": []}


def test_a_watch_that_has_read_its_fill_drops_every_other_sample(monkeypatch):
    monkeypatch.setattr(watch, "MOST_SAMPLES", 4)
    made = watch.Watch(Meter(), lambda: None)
    for i in range(4):
        made._keep(watch.Sample(float(i), i, 0, 0, 0, 0))
    made._thin_out()
    made._keep(watch.Sample(4.5, 9, 0, 0, 0, 0))
    assert [(sample.at_s, sample.messages) for sample in made.samples] == [(0.0, 0), (2.0, 2), (4.5, 9)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_one_line_that_is_kept_up_to_date_and_colours(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    line = cli.Line("bursts")
    line._every = 0.0
    line.tell(1, 1_000, 0.5)
    line.passing(0.7)
    line.end(
        {
            "verdict": record.KEPT,
            "rounds": 2,
            "messages": 2_000,
            "elapsed_s": 1.0,
            "error": None,
            "invariants": {},
        }
    )
    first, second, last = terminal.getvalue().split("\r")[1:]
    assert "playing" in first
    assert not second.endswith("\n")
    assert last.startswith("\x1b[32mstress: bursts")
    assert last.count("\n") == 1


def test_a_play_in_which_nothing_moves_any_more_is_ended_by_its_watch(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(watch, "EVERY_S", 0.001)
    exits = []
    over = threading.Event()

    async def hangs(round: Round) -> None:
        monkeypatch.setattr(watch, "STILL_LOOKS", 3)  # not before, or it looks away from what begins slowly
        round.arrived(1)
        over.wait(60)

    def leave(code: int) -> None:
        exits.append(code)
        over.set()

    monkeypatch.setattr(os, "_exit", leave)
    made = play.Play(a_scenario(hangs, WAITS), 1, play.Limit(60.0, 1, "test"), tmp_path, lambda *told: None)
    made.run()
    assert exits == [1]
    assert made.invariants[WAITS].told == [(1, "nothing moves any more")]
    assert "hangs" in capfd.readouterr().err  # where it stood still


# ---- memory ------------------------------------------------------------------------------------------------------------


def readings(per_message: float, n: int = 40) -> list[tuple[int, float]]:
    return [(i * 1_000, 5e6 + (i * 1_000) * per_message) for i in range(n)]


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (readings(0.0), slope.FLAT),
        (readings(1.0), slope.GROWS),
        (readings(-1.0), slope.FLAT),
        (readings(1.0, n=20), slope.INCONCLUSIVE),
        ([], slope.INCONCLUSIVE),
        ([(0, 1.0)] * 40, slope.FLAT),
    ],
)
def test_a_slope_is_flat_or_grows_or_nobody_knows(found, verdict):
    assert slope.judge(found, 0.25).verdict == verdict


def test_a_third_of_odd_readings_move_no_slope():
    odd = [(at, value + (5e6 if i % 4 == 1 else 0)) for i, (at, value) in enumerate(readings(0.0))]
    assert slope.theil_sen(odd) == 0


def test_a_slope_whose_interval_has_the_limit_in_it_is_inconclusive():
    torn = [(at, value + Random(at).uniform(0, 1e6)) for at, value in readings(0.0)]
    wide = slope.judge(torn, 1e9)
    assert wide.low < wide.per_message < wide.high
    assert slope.judge(torn, wide.per_message).verdict == slope.INCONCLUSIVE


def test_the_warm_up_is_not_judged():
    warm = [(at, 1e6 * min(i, 20)) for i, (at, _) in enumerate(readings(0.0))]
    assert slope.judge(warm, 0.25).verdict == slope.FLAT


def test_a_play_whose_memory_grows_is_broken_and_is_played_again_as_a_whole(tmp_path):
    kept = []

    async def leaks(round: Round) -> None:
        kept.append(b"x" * 100_000)
        round.arrived(1_000)

    result = played(a_scenario(leaks, MEMORY, leaves=0.25), tmp_path, rounds=40)
    assert result["verdict"] == record.BROKEN
    assert result["memory"]["verdict"] == slope.GROWS
    assert result["replay"].endswith("--seed 1 --rounds 40")


# ---- the command -------------------------------------------------------------------------------------------------------


def test_the_scenarios_are_listed_with_their_sentences(capsys):
    assert cli.main(["--list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in listed] == ALL
    assert all(each["sentence"] for each in listed)
    assert cli.main(["--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(ALL)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "no scenario 'nothing'; there are bursts"),
        (["bursts", "--seconds", "0"], "have to be more than nothing"),
        (["bursts", "--rounds", "0"], "have to be more than nothing"),
        (["bursts", "--planted", "nothing"], "no fault 'nothing'; there are leak"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, said, capsys):
    assert cli.main(arguments) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["bursts", "--rounds", "1"], ["--rounds", "1"]])
def test_a_place_that_can_not_be_written_to_is_told_at_once(arguments, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert cli.main([*arguments, "--out", str(tmp_path / "file")]) == 2
    assert "stress: can't write" in capsys.readouterr().err


def test_a_full_disk_is_told_and_leaves_the_last_result(tmp_path, monkeypatch):
    record.write(tmp_path / "result.json", {"verdict": record.KEPT})

    def full(self: Path, *args: Any, **options: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(record.UnwritableError, match="No space left on device"):
        record.write(tmp_path / "result.json", {"verdict": record.BROKEN})
    assert record.read(tmp_path / "result.json") == {"verdict": record.KEPT}


def test_one_scenario_plays_in_a_process_and_prints_its_result(root, tmp_path):
    command = [sys.executable, "-m", "stress", "bursts", "--rounds", "1", "--json", "--engine", "python"]
    ran = subprocess.run(
        [*command, "--seed", "4", "--out", str(tmp_path)],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(ran.stdout)
    assert result == record.read(tmp_path / "bursts" / "result.json")
    assert (result["engine"], result["seed"], result["verdict"]) == ("python", 4, record.KEPT)
    assert "kept" in ran.stderr
    assert "\x1b" not in ran.stderr


# ---- several at once ---------------------------------------------------------------------------------------------------


def a_suite(folder: Path, names: list[str], *arguments: str) -> suite.Suite:
    options = cli.parser().parse_args(["--out", str(folder), "--seed", "3", *arguments])
    return suite.Suite(options, names, ["python"])


@pytest.fixture
def undrawn(monkeypatch):
    """Plots take seconds to load; the page around them doesn't."""
    monkeypatch.setattr(report, "_drawn", lambda samples: "<svg></svg>")


def test_a_suite_leaves_results_and_a_page(root, tmp_path, monkeypatch, undrawn, capsys):
    monkeypatch.chdir(root)
    result = a_suite(tmp_path, ["bursts"], "--rounds", "1", "--seconds", "60").run()
    assert (result["verdict"], result["missing"]) == (record.KEPT, [])
    assert record.read(tmp_path / "python" / "bursts" / "result.json")["samples"]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "bursts on python" in page
    assert "1 kept" in capsys.readouterr().err


def test_a_process_that_leaves_no_result_is_broken(root, tmp_path, monkeypatch, undrawn):
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    result = a_suite(tmp_path, ["bursts"], "--rounds", "1").run()
    (found,) = result["plays"]
    assert (found["verdict"], found["error"]) == (
        record.BROKEN,
        "the process ended with code 1 and without a result",
    )


def test_an_interrupted_suite_is_partial_and_says_what_is_missing(tmp_path, monkeypatch, undrawn):
    made = a_suite(tmp_path, ["bursts", "churn"])

    def interrupted(*arguments: Any) -> dict[str, Any]:
        signal.raise_signal(signal.SIGINT)
        return made._without_result(
            "bursts", "python", -2, None, "KeyboardInterrupt"
        )  # before it could write one

    monkeypatch.setattr(made, "_play", interrupted)
    result = made.run()
    assert (result["verdict"], result["missing"]) == (record.PARTIAL, ["churn on python"])
    assert (
        "<b>Partial.</b> The run was interrupted. Not played: churn on python."
        in (tmp_path / "report.html").read_text()
    )


def test_plays_get_less_time_when_the_suite_is_late(tmp_path):
    made = a_suite(tmp_path, ["bursts", "churn"])
    in_time = made._seconds("bursts", made.pairs)
    made._began -= suite.WITHIN_S - 8.0
    late = made._seconds("bursts", made.pairs)
    assert in_time == scenarios.load("bursts").seconds[1]
    assert 0 < 2 * late <= 8.0 - 2 * suite.START_S


def test_a_broken_play_outweighs_an_interruption():
    assert record.exit_code(record.KEPT, record.INCONCLUSIVE) == 0
    assert record.exit_code(record.KEPT, record.PARTIAL) == 130
    assert record.exit_code(record.PARTIAL, record.BROKEN, record.KEPT) == 1


def test_the_page_shows_what_broke_and_how_to_play_it_again(tmp_path):
    async def breaks(round: Round) -> None:
        round.check(REASON, False, "<b>counts</b>")

    result = played(a_scenario(breaks, REASON), tmp_path)
    page = report.page([{**result, "samples": []}], None)
    assert "&lt;b&gt;counts&lt;/b&gt;" in page
    assert "--seed 1 --rounds 1" in page


def test_samples_become_plots():
    pytest.importorskip("matplotlib", reason="only where the requirements of `make stress` are installed")
    samples = [watch.Sample(i / 10, i * 100, i % 5, 30_000_000, 9, 3) for i in range(50)]
    drawn = report._drawn(samples)
    assert drawn.startswith("<svg")
    assert "messages a second" in drawn
