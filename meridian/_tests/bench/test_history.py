"""The history: what asv measured is counted, what it would ignore is refused, and the page shows what there is."""

import itertools
import json
import math
import signal

import pytest

pytest.importorskip("asv_bench", reason="the benchmarks are not part of the wheel")
from asv_bench import history, once, page
from asv_bench.page import Change, Course, Point
from asv_bench.tally import cases_of, exactly, matching, modules, reasons_in, tally, unknown_keys

pytestmark = pytest.mark.req("X3")

ENGINES = ["'python'", "'rust'"]
CHAIN = cases_of("chain.Chain.time_chain", [ENGINES, ["'plain'", "'async'"]])
FAN = cases_of("fan.Fan.time_fan", [ENGINES])
GRAPH = cases_of("validators.Graph.time_validate", [])
CASES = [*CHAIN, *FAN, *GRAPH]


# ---- cases ---------------------------------------------------------------------------------------------------------


def test_a_case_is_a_benchmark_with_one_combination_of_its_parameters_in_asvs_order():
    assert [case.name for case in CHAIN] == [
        "chain.Chain.time_chain('python', 'plain')",
        "chain.Chain.time_chain('python', 'async')",
        "chain.Chain.time_chain('rust', 'plain')",
        "chain.Chain.time_chain('rust', 'async')",
    ]
    assert [case.id for case in FAN] == ["fan.Fan.time_fan-0", "fan.Fan.time_fan-1"]
    assert [(case.id, case.name) for case in GRAPH] == [("validators.Graph.time_validate",) * 2]


def test_a_case_knows_its_engine():
    assert [case.engine for case in (*FAN, *GRAPH)] == ["python", "rust", "neither"]


def test_cases_are_chosen_by_a_regular_expression_on_their_whole_name():
    assert matching(CASES, "") == CASES
    assert matching(CASES, r"^fan") == FAN
    assert matching(CASES, r"rust.*async") == [CHAIN[3]]
    assert modules(CASES) == ["chain", "fan", "validators"]


def test_asv_is_asked_for_cases_by_their_exact_names():
    arguments = exactly([CHAIN[2], *GRAPH])
    assert arguments[::2] == ["--bench", "--bench"]
    assert [matching(CASES, pattern) for pattern in arguments[1::2]] == [[CHAIN[2]], GRAPH]


def test_once_runs_the_first_case_of_each_benchmark_on_an_engine_and_those_on_neither_with_python():
    assert once.smallest(CASES, "python") == [CHAIN[0], FAN[0], GRAPH[0]]
    assert once.smallest(CASES, "rust") == [CHAIN[2], FAN[1]]


def test_once_leaves_out_what_has_a_lane_of_its_own():
    assert once.smallest(cases_of("lanes.Instructions.track_ir_per_item", [ENGINES]), "python") == []


# ---- counting ------------------------------------------------------------------------------------------------------

FIGURES = {case.id: 1e-6 for case in CASES}


def test_all_figures_there_is_complete():
    made = tally("abc", CASES, FIGURES, {})
    assert made.complete
    assert made.figures == {"python": 3, "rust": 3, "neither": 1}
    assert str(made) == "abc: 7 of 7 cases have a figure (neither 1, python 3, rust 3)"


def test_what_is_skipped_for_a_reason_is_complete_and_the_reason_is_told():
    results = {**FIGURES, FAN[1].id: math.nan}
    made = tally("abc", CASES, results, {FAN[1].id: "no Rust engine here"})
    assert made.complete
    assert "1 skipped: no Rust engine here" in str(made)


@pytest.mark.parametrize(
    ("value", "where", "said"),
    [
        (math.nan, "unexplained", "1 skipped without a reason: fan.Fan.time_fan('rust')"),
        (None, "failed", "1 broke: fan.Fan.time_fan('rust')"),
    ],
)
def test_a_case_without_a_figure_and_without_a_reason_is_incomplete(value, where, said):
    made = tally("abc", CASES, {**FIGURES, FAN[1].id: value}, {FAN[0].id: "another one"})
    assert not made.complete
    assert getattr(made, where) == [FAN[1].name]
    assert said in str(made)


def test_a_case_that_never_ran_is_incomplete():
    made = tally("abc", CASES, {case.id: 1.0 for case in FAN}, {})
    assert (made.complete, len(made.missing)) == (False, 5)
    assert made.as_json()["missing"][0] == CHAIN[0].name


def test_nothing_measured_is_never_complete():
    results, why = {case.id: math.nan for case in CASES}, {case.id: "no engine" for case in CASES}
    assert not tally("abc", CASES, results, why).complete


def test_what_ran_once_is_counted_the_same_way():
    answers = [
        {"case": CHAIN[0].id, "figure": 1.0},
        {"case": FAN[0].id, "skipped": "because"},
        {"case": GRAPH[0].id, "error": "ValueError"},
    ]
    made = history.judged("python", [CHAIN[0], FAN[0], GRAPH[0]], answers)
    assert (made.figures.total(), made.skipped, made.failed) == (1, {"because": 1}, [GRAPH[0].name])


def test_reasons_are_read_from_where_the_benchmarks_note_them(tmp_path):
    noted = tmp_path / "skipped"
    assert reasons_in(noted) == {}
    noted.write_text('{"benchmark": "a-1", "why": "x"}\n{"benchmark": "a-2", "why": "y"}\n')
    assert reasons_in(noted) == {"a-1": "x", "a-2": "y"}


def test_keys_that_asv_would_ignore_are_named_with_those_that_were_meant():
    known = ["regressions_thresholds", "repo", "version"]
    assert unknown_keys(["repo", "version"], known) == []
    assert unknown_keys(["regression_thresholds", "zzz"], known) == [
        "regression_thresholds (perhaps regressions_thresholds?)",
        "zzz",
    ]


# ---- runs ----------------------------------------------------------------------------------------------------------


class Asv(history.Asv):
    """Stands in for asv: writes down a figure for what it is asked to run, until it is interrupted."""

    def __init__(self, folder, interrupted_at=None, measures=True):
        self.results = folder / "results"
        self.interrupted_at, self.measures = interrupted_at, measures
        self.asked = []
        self.measured = {}

    def know_this_machine(self):
        pass

    def __call__(self, *arguments, noted=None):
        self.asked.append(arguments)
        if len(self.asked) - 1 == self.interrupted_at:
            raise KeyboardInterrupt
        if self.measures:
            for option, pattern in itertools.pairwise(arguments):
                if option == "--bench":
                    self.measured |= {case.id: 1e-6 for case in matching(CASES, pattern)}
        return 2 if self.measures else 0  # of which nothing is concluded


@pytest.fixture
def run_with(monkeypatch, tmp_path):
    def run(asv, pattern="", names=("HEAD",)):
        monkeypatch.setattr(history, "OUT", tmp_path / "out")
        monkeypatch.setattr(once, "discover", lambda: CASES)
        monkeypatch.setattr(history, "commit_of", lambda name: f"{name}-hash")
        monkeypatch.setattr(history, "stored", lambda folder, commit, since: asv.measured)
        return history.measure(asv, names, pattern, ["--quick"])

    return run


def test_a_commit_is_measured_module_by_module(run_with, tmp_path):
    asv = Asv(tmp_path)
    run = run_with(asv)
    assert (run.exit_code, run.partial) == (0, False)
    assert [asked[:2] for asked in asv.asked] == [("run", "HEAD-hash^!")] * 3
    assert json.loads((tmp_path / "out" / "run.json").read_text())["commits"][0]["figures"]["rust"] == 3
    assert asv.marks() == {}


def test_an_interruption_leaves_what_was_measured_and_marks_it(run_with, tmp_path, capsys):
    asv = Asv(tmp_path, interrupted_at=1)
    run = run_with(asv)
    assert run.exit_code == 130
    report = json.loads((tmp_path / "out" / "run.json").read_text())
    assert report["partial"] is True
    assert report["commits"][0]["figures"] == {"python": 2, "rust": 2}
    assert json.loads(asv.marked.read_text()) == {"HEAD-hash": [4, 7]}
    assert "marked as partial" in capsys.readouterr().err


def test_a_whole_run_takes_the_mark_away_and_a_selection_leaves_it(run_with, tmp_path):
    run_with(Asv(tmp_path, interrupted_at=1))
    run_with(Asv(tmp_path), pattern="^fan")
    assert Asv(tmp_path).marks() != {}
    run_with(Asv(tmp_path))
    assert Asv(tmp_path).marks() == {}


def test_figures_that_lack_are_an_exit_code_whatever_asv_says(run_with, tmp_path):
    run = run_with(Asv(tmp_path, measures=False))
    assert (run.exit_code, len(run.tallies[0].missing)) == (1, 7)


def test_asv_is_told_of_an_interruption_and_waited_for(monkeypatch):
    told = []

    class Process:
        pid = 7

        def __init__(self, command, **options):
            assert options["start_new_session"]  # a terminal doesn't tell it, too

        def wait(self, timeout=None):
            told.append(timeout)
            if timeout is None:
                raise KeyboardInterrupt
            return 1

    monkeypatch.setattr(history, "configuration", lambda: {"results_dir": "r", "html_dir": "h"})
    monkeypatch.setattr(history.subprocess, "Popen", Process)
    monkeypatch.setattr(history.os, "killpg", lambda pid, sent: told.append((pid, sent)))
    asv = history.Asv()
    with pytest.raises(KeyboardInterrupt):
        asv("run")
    assert told == [None, (7, signal.SIGINT), 15]


def test_a_selection_that_selects_nothing_is_refused(run_with, tmp_path):
    with pytest.raises(history.HistoryError, match="no benchmark is called like 'nosuch'"):
        run_with(Asv(tmp_path), pattern="nosuch")


def test_two_runs_in_one_checkout_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(history, "OUT", tmp_path)
    with history.alone(), pytest.raises(history.HistoryError, match="another run"), history.alone():
        pass
    with history.alone():
        pass


def test_a_commit_that_git_does_not_know_is_refused():
    with pytest.raises(history.HistoryError, match="no commit 'no-such-commit'"):
        history.commit_of("no-such-commit")


class Publisher(Asv):
    """Stands in for asv: writes its pages, or fails to."""

    def __init__(self, folder, graphs=()):
        super().__init__(folder)
        self.html = folder / "html"
        self.graphs = graphs

    def __call__(self, *arguments, noted=None):
        for name in self.graphs:
            graph = self.html / "graphs" / "summary" / f"{name}.json"
            graph.parent.mkdir(parents=True, exist_ok=True)
            graph.touch()
            (self.html / "index.json").write_text(json.dumps({"benchmarks": {name: {}}}))
        return 0


@pytest.fixture
def courses(monkeypatch):
    found = []
    monkeypatch.setattr(history, "ancestry", list)
    monkeypatch.setattr(page, "read", lambda results, commits: found)
    return found


def test_publishing_writes_both_pages_and_names_partial_commits(courses, tmp_path, capsys):
    courses.append(Course("box", [("a", 0.0)], {"f": "x"}, {"f": {"a": Point(1.0, 1.0, 1.0)}}))
    asv = Publisher(tmp_path, graphs=["f"])
    asv.marked.write_text('{"a": [4, 7]}')
    assert history.publish(asv) == 0
    said = capsys.readouterr().err
    assert "1 benchmarks have a graph" in said
    assert "partial: a has figures of 4 of 7 cases only" in said
    assert "partial: 4 of 7 cases" in (tmp_path / "html" / "history.html").read_text()


def test_pages_of_an_earlier_time_are_no_pages(courses, tmp_path, capsys):
    history.publish(Publisher(tmp_path, graphs=["f"]))
    assert history.publish(Publisher(tmp_path)) == 1  # nothing was measured
    assert "asv's own pages show nothing" in capsys.readouterr().err


# ---- the page ------------------------------------------------------------------------------------------------------


def steady(*values):
    return [Point(value, value, value) for value in values]


@pytest.mark.parametrize(
    ("before", "after", "clear"),
    [
        (*steady(1.0, 1.05), False),  # no intervals
        (*steady(1.0, 1.2), True),
        (*steady(2.0, 1.0), True),
        (Point(1.0, 0.9, 1.1), Point(1.15, 1.05, 1.2), False),  # the intervals meet
        (Point(1.0, 0.99, 1.01), Point(1.05, 1.04, 1.06), True),
    ],
)
def test_a_change_is_clear_where_the_intervals_do_not_meet(before, after, clear):
    assert Change(before, after).clear == clear


def test_of_two_commits_what_changed_clearly_and_by_more_than_the_factor_is_told_the_largest_first():
    figures = {
        "same": steady(1.0, 1.0),
        "slower": steady(1.0, 1.3),
        "slow": steady(1.0, 2.0),
        "fast": steady(2.0, 1.0),
    }
    course = Course(
        "box", figures={name: dict(zip("ab", each, strict=True)) for name, each in figures.items()}
    )
    course.figures["new"] = {"b": Point(1.0, 1.0, 1.0)}
    found = page.changes(course, "a", "b", 1.1)
    assert {name: each.ratio for name, each in found.items()} == {"slow": 2.0, "slower": 1.3, "fast": 0.5}
    assert list(found) == ["slow", "slower", "fast"]
    assert list(page.changes(course, "a", "b", 1.5)) == ["slow", "fast"]


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (1.5e-7, "seconds", "150 ns"),
        (2.5e-5, "seconds", "25 µs"),
        (0.0123, "seconds", "12.3 ms"),
        (2.0, "seconds", "2 s"),
        (982.6, "bytes", "983 B"),
        (9.84e7, "bytes", "98.4 MB"),
        (6.7, "x", "6.7 x"),
    ],
)
def test_figures_are_written_as_people_write_them(value, unit, said):
    assert page.shown(value, unit) == said


def test_the_page_shows_each_case_and_says_which_commit_is_partial_without_any_network(tmp_path):
    course = Course(
        "box, env",
        [("a" * 40, 0.0), ("b" * 40, 60.0)],
        {"fan.Fan.time_fan": "seconds"},
        {FAN[0].name: dict(zip(("a" * 40, "b" * 40), steady(1e-7, 2e-7), strict=True))},
    )
    path = tmp_path / "history.html"
    assert page.write(path, [course], {"b" * 40: "1 of 7 cases"}) == 1
    text = path.read_text()
    assert "fan.Fan.time_fan(&#x27;python&#x27;)" in text
    assert "200 ns" in text
    assert "+100.0%" in text
    assert "partial: 1 of 7 cases" in text
    assert "src=" not in text
    assert "http" not in text


def test_a_page_of_nothing_says_so(tmp_path):
    assert page.write(tmp_path / "history.html", [], {}) == 0
    assert "Nothing was measured yet" in (tmp_path / "history.html").read_text()
