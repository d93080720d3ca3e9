"""What a run leaves behind: which files, equal for equal results, and nothing that breaks out of them."""

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from meridian_conformance import reports
from meridian_conformance.reports import badge, console, html, junit, matrix, result_file
from meridian_conformance.verdicts import Result, Verdict

pytestmark = pytest.mark.req("X5")

NAMES = ["result.json", "junit.xml", "report.html", "badge.json", "badge.svg"]


def test_a_run_leaves_five_files_and_one_history_for_each_broken_rule(mixed: Result, tmp_path: Path):
    written = reports.write(mixed, tmp_path / "out")
    histories = ["failures/EDGE-103.json", "failures/EDGE-110.json", "failures/EDGE-121.json"]
    assert [path.relative_to(tmp_path / "out").as_posix() for path in written] == NAMES + histories
    assert all(path.stat().st_size > 0 for path in written)


def test_histories_of_an_earlier_run_do_not_stay(mixed: Result, passed: Result, tmp_path: Path):
    reports.write(mixed, tmp_path)
    (tmp_path / "failures" / "mine.txt").write_text("kept")
    reports.write(passed, tmp_path)
    assert [path.name for path in (tmp_path / "failures").iterdir()] == ["mine.txt"]


def test_equal_results_give_equal_files(mixed: Result, tmp_path: Path):
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        reports.write(copy.deepcopy(mixed), folder)
    for path in one.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (other / path.relative_to(one)).read_bytes(), path.name


def texts(result: Result) -> dict[str, str]:
    return {
        "html": html.dumps(result),
        "matrix": matrix.html([result, result]),
        "svg": badge.svg(result),
        "junit": junit.dumps(result),
        "badge": badge.dumps(result),
        "result": result_file.dumps(result),
        "console": console.table(result),
        "console matrix": matrix.table([result]),
        "markdown": console.markdown(result),
    }


class Elements(HTMLParser):
    """Gathers elements with their attributes, and checks that each is closed in its place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def said(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.mark.req("X2")
@pytest.mark.parametrize("page", ["html", "matrix"])
def test_a_page_from_hostile_names_holds_no_script_no_handler_and_no_link_that_runs(
    hostile: Result, page: str
):
    elements = Elements(texts(hostile)[page])
    for name, attributes in elements.seen:
        assert name not in {"script", "iframe", "img", "link", "object", "form"}
        assert not [key for key in attributes if key.startswith("on")]
        assert (attributes.get("href") or "#").startswith(("#", "https://", "http://"))
        assert "src" not in attributes
    assert "<script>alert('\"&')</script>" in elements.said  # told as text


@pytest.mark.req("X2")
@pytest.mark.parametrize("page", ["html", "matrix"])
def test_a_page_fetches_nothing(mixed: Result, page: str):
    text = texts(mixed)[page]
    policies = [attributes.get("content") or "" for name, attributes in Elements(text).seen if name == "meta"]
    assert "default-src 'none'; style-src 'unsafe-inline'" in policies
    assert not re.search(r"url\(|@import|src=", text)
    links = [attributes["href"] for name, attributes in Elements(text).seen if "href" in attributes]
    assert {link for link in links if not link.startswith("#")} <= {"https://bugs.example/7"}


@pytest.mark.req("X2")
@pytest.mark.parametrize("form", ["svg", "junit"])
def test_xml_from_hostile_names_is_well_formed_and_holds_no_script(hostile: Result, form: str):
    root = ElementTree.fromstring(texts(hostile)[form])
    assert [each.tag for each in root.iter() if each.tag.endswith("script")] == []


@pytest.mark.req("X2")
@pytest.mark.parametrize("form", ["console", "console matrix", "markdown", "junit", "svg", "html", "badge"])
def test_no_control_character_of_a_backend_gets_through(hostile: Result, form: str):
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", texts(hostile)[form])


@pytest.mark.req("X2")
def test_markdown_from_hostile_names_holds_no_markup_and_no_further_cells(hostile: Result):
    text = console.markdown(hostile)
    outside = "\n".join(
        line for line in text.splitlines() if not line.startswith("    ")
    )  # not in the code block
    assert "<script" not in outside
    cells = [re.sub(r"\\.", "", line).count("|") for line in text.splitlines() if line.startswith("| ")]
    assert set(cells) == {6}


@pytest.mark.req("X2")
def test_text_of_a_backend_is_bounded(passed: Result):
    passed.backend = "x" * 100_000
    for form, text in texts(passed).items():
        assert form == "result" or len(text) < 40_000, form


def test_the_page_tells_verdict_sentence_history_command_waiver_and_environment(mixed: Result):
    said = Elements(html.dumps(mixed)).said
    for told in (
        "mybackend.edges:Backend",
        "Meridian 2.0 core+async",
        "1 MUST was broken.",
        "Nothing is lost, invented or delivered twice",  # the sentence
        "an item is overwritten when the ring wraps around",  # a likely cause
        "Opened with capacity 2, policy block",
        "put(1)",
        "meridian-conform replay failures/EDGE-103.json --backend mybackend.edges:Backend",
        "put on a full edge: 412 of the 100 that are needed",
        "https://bugs.example/7",
        "2027-06-30",
        "could be claimed",
        "26,244",
        "3.11.7",
        "one note",
    ):
        assert told in said, told


def test_the_step_at_which_the_history_went_wrong_is_marked(mixed: Result):
    rows = [attributes for name, attributes in Elements(html.dumps(mixed)).seen if name == "tr"]
    assert (
        len([each for each in rows if each.get("class") == "differs"]) == 2
    )  # one in each failure shown in a card


def test_nothing_wants_attention_where_all_is_well(passed: Result):
    said = Elements(html.dumps(passed)).said
    assert "Every MUST held." in said
    assert "What wants attention" not in said


def test_the_badge_names_suite_profile_and_counts_and_never_a_percentage(passed: Result, mixed: Result):
    assert json.loads(badge.dumps(passed)) == {
        "schemaVersion": 1,
        "label": "Meridian 2.0 core",
        "message": "2/2 MUST",
        "color": "brightgreen",
        "isError": False,
    }
    told = json.loads(badge.dumps(mixed))
    assert (told["label"], told["color"]) == ("Meridian 2.0 core+async", "red")
    assert told["message"] == "1/5 MUST, 1 waived, 1 vacuous, 1 in error, 1 SHOULD broken"
    for result in (passed, mixed):
        image = ElementTree.fromstring(badge.svg(result))
        said = " ".join(each.text for each in image.iter("{http://www.w3.org/2000/svg}text"))
        assert said == image.get("aria-label")
        assert "%" not in badge.svg(result) + badge.dumps(result)


@pytest.mark.parametrize(
    ("verdict", "colour"), [(Verdict.FAIL, "red"), (Verdict.VACUOUS, "yellow"), (Verdict.ERROR, "yellow")]
)
def test_the_badge_is_green_only_where_every_must_held(passed: Result, verdict: Verdict, colour: str):
    passed.rules[0].verdict = verdict
    assert json.loads(badge.dumps(passed))["color"] == colour


def test_the_table_names_each_rule_with_its_verdict_and_ends_with_the_counts(mixed: Result):
    text = console.table(mixed)
    lines = text.splitlines()
    assert lines[0] == "Meridian 2.0 core+async: mybackend.edges:Backend"
    for each in mixed.rules:
        (row,) = [line for line in lines if line.startswith(f"  {each.rule} ")]
        assert each.verdict.replace("_", " ") in row
    assert (
        "  EDGE-101    MUST   pass                 30/20 Depth never exceeds capacity" in text
    )  # the rarest, by share
    assert "    2. put(1) -> BLOCKED   (expected OK)" in text
    assert "EDGE-110 waived: known (issue: https://bugs.example/7) (expires: 2027-06-30)" in text
    assert "you could claim: threads" in text
    assert lines[-1].endswith("1 MUST was broken.")


def test_the_command_to_see_a_failure_again_is_told_where_there_is_a_file(mixed: Result):
    told = console.table(mixed, folder=Path("my out"))
    assert (
        "again: meridian-conform replay 'my out/failures/EDGE-103.json' --backend mybackend.edges:Backend"
        in told
    )
    mixed.loads = "mybackend"  # how it was found, where its own name says otherwise
    assert "EDGE-103.json' --backend mybackend\n" in console.table(mixed, folder=Path("my out"))
    assert "again:" not in console.table(mixed)
    assert "Name a folder for the reports" in console.table(mixed)


def test_there_is_colour_only_where_it_is_asked_for(mixed: Result):
    assert "\x1b" not in console.table(mixed)
    assert "\x1b[31;1mfail" in console.table(mixed, colour=True)


class Stream:
    def __init__(self, terminal: bool) -> None:
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def test_colour_is_wanted_on_terminals_and_never_against_the_readers_wish(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert console.wants_colour(Stream(terminal=True))
    assert not console.wants_colour(Stream(terminal=False))
    monkeypatch.setenv("NO_COLOR", "1")
    assert not console.wants_colour(Stream(terminal=True))


def test_the_matrix_has_a_row_for_each_rule_and_a_column_for_each_result(passed: Result, mixed: Result):
    told = matrix.to_json([passed, mixed])
    assert told["backends"][0]["counts"] == "2/2 MUST"
    assert {each["rule"]: each["verdicts"] for each in told["rules"]} == {
        "EDGE-101": ["pass", "pass"],
        "EDGE-103": ["pass", "fail"],
        "EDGE-104": [None, "vacuous"],
        "EDGE-105": [None, "error"],
        "EDGE-110": [None, "waived"],
        "EDGE-115": [None, "not_applicable"],
        "EDGE-121": ["pass", "fail"],
        "READY-201": [None, "untestable"],
    }
    assert [each["rule"] for each in told["rules"]][-2:] == [
        "EDGE-121",
        "READY-201",
    ]  # the order of the rules
    page = Elements(matrix.html([passed, mixed])).said
    assert "not asked" in page
    rows = matrix.table([passed, mixed]).splitlines()
    assert "  EDGE-103    MUST  pass           fail" in rows


def test_a_result_of_a_suite_with_other_rules_is_reported_all_the_same(passed: Result):
    passed.rules[0].rule = "EDGE-999"
    for text in texts(passed).values():
        assert "EDGE-999" in text or "Meridian 2.0 core" in text
    assert [each["rule"] for each in matrix.to_json([passed])["rules"]][-1] == "EDGE-999"
