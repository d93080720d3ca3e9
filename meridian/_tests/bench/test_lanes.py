"""Lanes I and R, the budget of metrics and what is planted: how they judge, on figures that the tests make up, and what they run."""

import json
import subprocess
import sys
from shutil import which

import pytest

from meridian.observability.metrics import NoopMetrics, get_metrics

pytest.importorskip("asv_bench", reason="the benchmarks are not part of the wheel")
from asv_bench import compare, instructions, overhead, paired, planted, record, watched
from asv_bench.instructions import FAIL, WARN, LaneError
from asv_bench.shape import StandingClock
from asv_bench.trees import ROOT, Edit, TreeError, tree
from asv_bench.verdict import GREEN, RED, YELLOW, colored, laid_out
from meridian_conformance.paired import Interval, Measured

pytestmark = pytest.mark.req("N4", "X3")
FIT = Interval(0.99, 1.0, 1.01)
needs_valgrind = pytest.mark.skipif(which("valgrind") is None, reason="only CI requires valgrind")


# ---- what is measured ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", watched.OPERATIONS)
@pytest.mark.parametrize(
    "clock", [None, StandingClock(), watched.ProcessorClock()], ids=["system", "standing", "processor"]
)
def test_each_operation_does_what_it_says(name, clock):
    assert watched.OPERATIONS[name].open(clock)(64) >= 0


@pytest.mark.parametrize("mode", watched.MODES)
def test_in_each_mode_the_workloads_run_and_metrics_are_off_afterwards(mode):
    for name in overhead.WORKLOADS:
        assert overhead.in_mode(name, watched.providers()[mode])(10) >= 0
    assert isinstance(get_metrics(), NoopMetrics)


def test_the_clock_reads_the_metrics_while_a_run_is_under_way():
    provider = watched.providers()[watched.PROMETHEUS]
    texts = []
    render = provider.render
    provider.render = lambda: texts.append(render())
    with watched.provided(provider):
        watched.OPERATIONS["fan-in"].open(watched.ScrapingClock(provider, 2))(1_000)
    assert len(texts) == 2
    assert 'edge_enqueued_total{edge_id="source-0:output->sum:input"}' in texts[0]


# ---- trees -----------------------------------------------------------------------------------------------------------


def test_a_tree_with_edits_is_a_copy_and_measures_with_the_tools_of_this_checkout():
    edit = Edit("__init__.py", '__version__ = "', '__version__ = "edited')
    with tree("edited", edits=[edit]) as edited, tree("head") as head:
        for each, begins in ((edited, True), (head, False)):
            ask = each.command(
                "-c", "import meridian, asv_bench; print(meridian.__version__, asv_bench.__file__)"
            )
            done = subprocess.run(
                ask, env=each.environment("python"), capture_output=True, text=True, check=True
            )
            version, file = done.stdout.split()
            assert (version.startswith("edited"), file) == (
                begins,
                str(each.path / "asv_bench" / "__init__.py"),
            )
    assert not edited.path.exists()


def test_an_edit_that_is_out_of_date_is_refused():
    with (
        pytest.raises(TreeError, match="0 times instead of 1"),
        tree("x", edits=[Edit("core/edge.py", "no such line", "")]),
    ):
        pass


def test_what_is_no_checkout_is_refused(tmp_path):
    with pytest.raises(TreeError, match="no package meridian"), tree("x", tmp_path):
        pass


@pytest.mark.parametrize(
    "edits", [overhead.WITHOUT_METRICS, overhead.WITHOUT_TRACING, *(each.edits for each in planted.PLANTED)]
)
def test_every_edit_that_the_lanes_make_fits_the_package_as_it_is_and_still_compiles(edits):
    for edit in edits:
        compile(edit.applied((ROOT / "meridian" / edit.file).read_text()), edit.file, "exec")


# ---- lane I ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(0.5, GREEN), (WARN, GREEN), (1.021, YELLOW), (FAIL, YELLOW), (1.051, RED)]
)
def test_two_percent_more_instructions_warn_and_five_fail(ratio, verdict):
    assert instructions.judge(ratio) == verdict


def test_what_starting_up_takes_cancels():
    assert instructions._slope((100, 5_000), (300, 6_000)) == 5.0


def test_the_count_is_read_from_cachegrinds_closing_words():
    assert instructions._total("==7== \n==7== I   refs:      1,098,720,925\n") == 1_098_720_925
    with pytest.raises(LaneError, match="no count"):
        instructions._total("==7== killed")


def test_rows_compare_what_both_have_and_the_table_shows_it():
    found = instructions.rows({"python": {"edge": 106.0, "put": 5.0}}, {"python": {"edge": 100.0}})
    assert [(row["operation"], row.get("verdict")) for row in found] == [("edge", RED), ("put", None)]
    assert "1.0600" in instructions.table(found)


def test_figures_of_another_interpreter_are_refused(tmp_path):
    file = tmp_path / "base.json"
    file.write_text(json.dumps({"interpreter": "another", "instructions": {}}))
    with pytest.raises(LaneError, match="measured with another"):
        instructions.stored(file)
    file.write_text(
        json.dumps({"interpreter": instructions.interpreter(), "instructions": {"python": {"edge": 1.0}}})
    )
    assert instructions.stored(file) == {"python": {"edge": 1.0}}
    file.write_text("[]")
    with pytest.raises(LaneError, match="no figures"):
        instructions.stored(file)


def test_without_valgrind_the_lane_says_so(monkeypatch, capsys):
    monkeypatch.setattr(instructions, "which", lambda name: None)
    assert instructions.main(["edge"]) == 3
    assert "valgrind" in capsys.readouterr().err
    assert overhead.main(["--lane", "I"]) == 3
    assert planted.main([]) == 3


@needs_valgrind
def test_a_loop_of_a_fifth_more_takes_a_fifth_more_instructions_and_one_alike_the_same():
    cases = [(name, watched.OFF) for name in watched.LOOPS]
    with tree("head") as head:
        loop, again, more = instructions.count(head, "python", cases).slopes.values()
    assert abs(again / loop - 1) < 0.005
    assert 1.15 < more / loop < 1.25


def test_what_breaks_in_a_process_is_told(monkeypatch):
    with tree(
        "broken", edits=[Edit("__init__.py", '__version__ = "', "raise SystemError('on purpose')  # ")]
    ) as broken:
        with pytest.raises(LaneError, match="on purpose"):
            instructions.engines_of(broken)
        with pytest.raises(LaneError, match="exit code 1"):
            paired.measure(broken, broken, "python", "loop")


# ---- lane R ----------------------------------------------------------------------------------------------------------


def test_processes_take_samples_in_turns():
    with (
        tree("head") as head,
        paired.sampling(head, "python", "put") as one,
        paired.sampling(head, "python", "put") as other,
    ):
        assert [sample(50) > 0 for sample in (one, other, other, one)] == [True] * 4


@pytest.mark.parametrize(
    ("ratio", "control", "verdict"),
    [
        (Interval(0.99, 1.0, 1.02), FIT, GREEN),
        (Interval(1.15, 1.2, 1.25), FIT, RED),
        (Interval(1.05, 1.1, 1.15), FIT, YELLOW),
        (Interval(0.99, 1.0, 1.02), Interval(0.9, 1.0, 1.1), YELLOW),
    ],
    ids=["same", "a fifth more", "can't be told", "unfit machine"],
)
def test_lane_r_is_red_only_if_it_is_sure(ratio, control, verdict):
    measured = Measured(ratio, control, 20, paired.BUDGET)
    assert paired.judge(measured) == verdict
    assert verdict in paired.table([paired.row("python", "edge", measured)])


def test_lane_r_needs_something_to_compare_with(capsys):
    with pytest.raises(SystemExit):
        paired.main(["edge"])
    assert "--against" in capsys.readouterr().err


# ---- the budget ------------------------------------------------------------------------------------------------------


def test_the_gate_is_tested_a_fifth_more_turns_it_red_and_a_pair_alike_stays_green():
    red, green = overhead.gate_i("python", 1_000.0, 1_000.0, 1_200.0)
    assert [(each["verdict"], each["note"]) for each in (red, green)] == [
        (GREEN, "was RED"),
        (GREEN, "was green"),
    ]


@pytest.mark.parametrize(
    "figures", [(1_000.0, 1_000.0, 1_000.0), (1_000.0, 1_100.0, 1_200.0)], ids=["blind", "jumpy"]
)
def test_a_gate_that_sees_nothing_or_sees_things_is_broken(figures):
    with pytest.raises(LaneError, match="the gate of lane I is broken"):
        list(overhead.gate_i("python", *figures))


@pytest.fixture
def counts(monkeypatch):
    """What lane I will have counted, by case; the package without metrics takes 1,000 of everything."""
    made = {(name, mode): 1_000.0 for name in overhead.WORKLOADS for mode in watched.MODES}
    made |= {("loop", "off"): 1_000.0, ("loop-again", "off"): 1_000.0, ("loop-1200", "off"): 1_200.0}
    made[instructions.SCRAPE] = 1_000_000.0

    def count(of, engine, cases):
        found = {case: made[case] if of.label == "head" else 1_000.0 for case in cases}
        return instructions.Counted(engine, found)

    monkeypatch.setattr(instructions, "count", count)
    monkeypatch.setattr(instructions, "missing", lambda: "")
    return made


def budget(capsys):
    code = overhead.main(["--lane", "I", "--engine", "python"])
    return code, capsys.readouterr().out.splitlines()[-1]


def test_within_the_budget_is_green(counts, capsys):
    assert budget(capsys) == (0, "budget: green, all 14 are within it.")


def test_the_record_of_the_budget_has_what_metrics_cost_and_not_that_the_gate_was_tested(
    counts, monkeypatch, tmp_path
):
    monkeypatch.setattr(record, "FIGURES", tmp_path)
    assert overhead.main(["--lane", "I", "--engine", "python", "--save"]) == 0
    kept = json.loads((tmp_path / "budget.json").read_text(encoding="utf-8"))
    assert kept["command"] == 'make budget ARGS="--lane I"'
    assert kept["values"]["I"]["python"]["null_sink_over_off"] == {"edge": 1.0, "chain": 1.0, "fan-in": 1.0}
    assert {row[3] for row in kept["tables"]["budget"]["rows"]} == {"edge", "chain", "fan-in"}
    assert len(kept["tables"]["budget"]["rows"]) == 12


@pytest.mark.parametrize(
    ("case", "instructions_of_it", "told"),
    [
        (
            ("chain", "prometheus"),
            1_030.0,
            "budget: RED, 1 of 14 are beyond it.",
        ),  # a reading is charged on top
        (("edge", "null sink"), 1_040.0, "budget: RED, 1 of 14 are beyond it."),
        (("fan-in", "off"), 1_011.0, "budget: RED, 2 of 14 are beyond it."),
        (
            ("edge", "null sink"),
            1_020.0,
            "budget: yellow, 1 of 14 can't be told or are near it; nothing fails for that.",
        ),
    ],
)
def test_beyond_the_budget_is_red_and_near_what_is_aimed_at_yellow(
    counts, capsys, case, instructions_of_it, told
):
    counts[case] = instructions_of_it
    if case == ("fan-in", "off"):
        counts["fan-in", "prometheus"] = counts["fan-in", "null sink"] = instructions_of_it
    assert budget(capsys) == (int("RED" in told), told)


def test_a_broken_gate_ends_with_2_and_no_word_of_green(counts, capsys):
    counts["loop-1200", "off"] = 1_000.0
    code, told = budget(capsys)
    assert (code, "green" in told) == (2, False)
    assert "(partial)" in told


# ---- what is planted -------------------------------------------------------------------------------------------------


@pytest.fixture
def lanes_that_see(monkeypatch):
    """Have the lanes see what the test says: the ratio with what is planted, and without it."""

    def use(with_it, without_it):
        def ratio(head):
            return with_it if head.label == "planted" else without_it

        def count(of, engine, cases):
            slopes = {
                (name, mode): ratio(of) * (ratio(of) if mode == "prometheus" else 1) for name, mode in cases
            }
            return instructions.Counted(engine, slopes)

        def measure(base, head, engine, name):
            found = Interval(ratio(head) - 0.01, ratio(head), ratio(head) + 0.01)
            return Measured(found, FIT, 12, paired.BUDGET)

        monkeypatch.setattr(instructions, "missing", lambda: "")
        monkeypatch.setattr(instructions, "count", count)
        monkeypatch.setattr(paired, "measure", measure)

    return use


def test_what_is_planted_has_to_be_red_and_all_else_green(lanes_that_see, capsys):
    lanes_that_see(1.2, 1.0)
    assert planted.main(["--repeats", "2", "--busy", "0"]) == 0
    assert capsys.readouterr().out.count("  as it should be") == len(planted.PLANTED)
    lanes_that_see(1.0, 1.0)
    assert planted.main(["--repeats", "1", "--busy", "0"]) == 1
    assert capsys.readouterr().out.count("  NOT as it should be") == len(planted.PLANTED)


def test_a_lane_that_is_always_red_finds_nothing(lanes_that_see, capsys):
    lanes_that_see(1.2, 1.2)
    assert planted.main(["--repeats", "1", "--busy", "0", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (len(found["looks"]), found["partial"]) == (2 * len(planted.PLANTED), False)


def test_an_interruption_leaves_what_there_is_marked_as_partial(lanes_that_see, monkeypatch, capsys):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    lanes_that_see(1.2, 1.0)
    monkeypatch.setattr(paired, "measure", interrupted)
    assert planted.main(["--repeats", "1", "--busy", "0"]) == 130
    out = capsys.readouterr().out
    assert ("5 % more instructions" in out, "(partial)" in out) == (True, True)


def test_busy_processes_end_with_what_they_are_for():
    with planted.busy(1):
        pass  # a process that went on would be reported as a resource that nobody closed


# ---- comparing commits -----------------------------------------------------------------------------------------------


def test_a_commit_that_is_not_there_is_told(capsys):
    assert compare.main(["no-such-branch"]) == 2
    assert "there is no commit 'no-such-branch'" in capsys.readouterr().err


# ---- tables ----------------------------------------------------------------------------------------------------------


def test_columns_line_up_and_colors_are_for_terminals_only(monkeypatch):
    assert laid_out([("a", "b"), ("ccc", "10")], right=(1,)) == "a     b\nccc  10"
    assert colored(RED) == "RED"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert colored(RED) == "\x1b[31mRED\x1b[0m"
    assert laid_out([(colored(RED), "x"), ("abcde", "y")]) == "\x1b[31mRED\x1b[0m    x\nabcde  y"
