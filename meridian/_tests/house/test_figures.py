"""Every figure that README and docs show comes from a record: command, date, versions, machine."""

import json
from pathlib import Path

import pytest

from meridian._tests.house.test_tree import load

pytestmark = pytest.mark.req("X3")

RECORD = {
    "command": "make bench",
    "date": "2026-11-29",
    "versions": {"Meridian": "2.0.0", "Python": "3.11.7"},
    "machine": {"system": "Linux x86_64", "cpu": "a CPU", "cpus": 2, "load": 0.5},
    "values": {"chain": {"times": 8.25, "ns": 1400}},
    "tables": {"all": {"columns": ["what", "ns:"], "rows": [["chain", "1,400"]]}},
}
SOURCE = (
    "<!-- source: speed -->\n\n*Measured on 2026-11-29 by `make bench`: Meridian 2.0.0, Python 3.11.7; "
    "Linux x86_64, 2 CPUs (a CPU), load 0.5.*\n\n<!-- /source -->\n"
)


@pytest.fixture(scope="module")
def figures(root: Path):
    return load(root, "figures")


@pytest.fixture
def tree(tmp_path: Path):
    """A small project with one record; gives a function that writes README and says what is wrong."""
    (tmp_path / "docs" / "figures").mkdir(parents=True)
    (tmp_path / "Makefile").write_text("bench: ## is it fast\n", encoding="utf-8")
    write_record(tmp_path, RECORD)
    return tmp_path


def write_record(root: Path, record: object, name: str = "speed") -> None:
    (root / "docs" / "figures" / f"{name}.json").write_text(json.dumps(record), encoding="utf-8")


def wrong(figures, tree: Path, text: str, page: str = "README.md") -> list[str]:
    (tree / page).parent.mkdir(parents=True, exist_ok=True)
    (tree / page).write_text(text, encoding="utf-8")
    return figures.problems(tree)


def test_every_figure_in_readme_and_docs_has_its_source(root: Path, figures):
    assert figures.problems(root) == []


@pytest.mark.parametrize(
    "claim",
    [
        "a hop takes 140 ns",
        "0.2 ms later",
        "it is 12x faster",
        "it is 12 × faster",
        "12 times as fast as asyncio",
        "twice as fast",
        "ten times faster",
        "costs 1,300 B a node",
        "handles 1,000,000 messages per second",
        "3 % slower",
        "| chain | ns a hop |\n| --- | --- |\n| W1 | 140 |",
    ],
)
def test_a_figure_without_a_record_is_found(figures, tree: Path, claim: str):
    assert [each for each in wrong(figures, tree, SOURCE + claim) if each.endswith("has no source")] != []


@pytest.mark.parametrize(
    "text",
    [
        "programs for 1.x run",
        "a graph of 10,000 nodes",
        "19 times out of 20",
        "three times in a row",
        "`timeout 5 ms`",
        "```text\n12 times as fast\n```",
        "how many times as fast it is",
        "```text\n<!-- figure: gone.ns --><!-- /figure -->\n```",
        "`<!-- source: gone -->`",
        "it waits <!-- not measured: a setting -->0.2 ms<!-- /not measured -->",
        "<!-- not measured: limits -->\n\n| ns |\n| --- |\n| 3 |\n\n<!-- /not measured -->",
        "| version | date |\n| --- | --- |\n| 2.0 | 2026 |",
    ],
)
def test_what_is_no_figure_needs_no_record(figures, tree: Path, text: str):
    assert wrong(figures, tree, SOURCE + text) == []


def test_pages_are_filled_in_from_the_records(figures, tree: Path):
    page = tree / "README.md"
    page.write_text(
        "<!-- source: speed --><!-- /source -->\nit is <!-- figure: speed.chain.times -->1<!-- /figure --> or "
        "<!-- figure: speed.chain.times .0f --><!-- /figure -->, <!-- figure: speed.chain.ns --><!-- /figure -->\n"
        "<!-- table: speed.all -->old<!-- /table -->\n",
        encoding="utf-8",
    )
    assert figures.main(["--check"], tree) == 1
    assert figures.main([], tree) == 0
    assert page.read_text(encoding="utf-8") == (
        f"{SOURCE}it is <!-- figure: speed.chain.times -->8.25<!-- /figure --> or "
        "<!-- figure: speed.chain.times .0f -->8<!-- /figure -->, <!-- figure: speed.chain.ns -->1,400<!-- /figure -->\n"
        "<!-- table: speed.all -->\n\n| what | ns |\n| --- | ---: |\n| chain | 1,400 |\n\n<!-- /table -->\n"
    )
    assert figures.main(["--check"], tree) == 0
    assert figures.main(["--what"], tree) == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (SOURCE.replace("0.5", "0.4"), "out of date, run `make fmt`"),
        ("<!-- source: other -->x<!-- /source -->", "there is no record docs/figures/other.json"),
        (
            "it is <!-- figure: speed.chain.ns -->1<!-- /figure -->",
            "speed.chain.ns is quoted, and the page has no source of speed",
        ),
        (
            SOURCE + "<!-- figure: speed.fan.ns -->1<!-- /figure -->",
            "the record speed has no value fan.ns",
        ),
        (SOURCE + "<!-- figure: speed.chain -->1<!-- /figure -->", "speed.chain is no number"),
        (SOURCE + "<!-- table: speed.fan -->1<!-- /table -->", "the record speed has no table fan"),
        (
            SOURCE + "it is\n<!-- figure: speed.chain.ns -->1,400<!-- /figure -->",
            "'<!-- figure: speed.chain.ns -->' must not begin a line",
        ),
        (SOURCE + "<!-- figure: speed.chain.ns -->1", "'<!-- figure: speed.chain.ns -->' has no source"),
    ],
)
def test_a_marker_without_what_it_asks_for_is_found(figures, tree: Path, text: str, problem: str):
    assert f"README.md: {problem}" in wrong(figures, tree, text)


def test_a_page_that_asks_for_what_there_is_not_stays_as_it_is(figures, tree: Path, capsys):
    text = "<!-- source: other -->x<!-- /source -->"
    (tree / "README.md").write_text(text, encoding="utf-8")
    assert figures.main([], tree) == 1
    assert "README.md: there is no record" in capsys.readouterr().err
    assert (tree / "README.md").read_text(encoding="utf-8") == text


@pytest.mark.parametrize("key", ["command", "date", "versions", "machine", "values"])
def test_a_record_has_to_say_how_and_when_and_on_what(figures, tree: Path, key: str):
    write_record(tree, {name: value for name, value in RECORD.items() if name != key})
    assert f"docs/figures/speed.json lacks {key}" in wrong(figures, tree, SOURCE)


@pytest.mark.parametrize(
    ("command", "there"),
    [
        ("make bench", True),
        ("make -s bench JSON=1", True),
        ("make nothing", False),
        ("python -m asv_bench.slo", True),
        ("python -m asv_bench.peers --json", True),
        ("python -m asv_bench.gone", False),
        ("by hand", False),
    ],
)
def test_the_command_of_a_record_is_one_that_there_is(figures, tree: Path, command: str, there: bool):
    (tree / "asv_bench" / "peers").mkdir(parents=True)
    (tree / "asv_bench" / "slo.py").touch()
    (tree / "asv_bench" / "peers" / "__main__.py").touch()
    write_record(tree, {**RECORD, "command": command})
    text = SOURCE.replace("make bench", command)
    assert wrong(figures, tree, text) == (
        [] if there else [f"docs/figures/speed.json: there is no command {command!r}"]
    )


def test_a_record_that_no_page_quotes_is_found(figures, tree: Path):
    write_record(tree, RECORD, "spare")
    assert wrong(figures, tree, SOURCE) == ["docs/figures/spare.json: no page quotes it"]


def test_a_decision_record_may_keep_figures_beside_a_date_and_a_command(figures, tree: Path):
    page = "docs/decisions/0001-x.md"
    assert wrong(figures, tree, SOURCE) == []
    assert wrong(figures, tree, "on 2026-11-20, `make bench` said 12 ns", page) == []
    assert wrong(figures, tree, "it said 12 ns", page) == [f"{page}: '12 ns' has no source"]
