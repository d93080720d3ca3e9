"""Tables on terminals of any width: what names a row is always there."""

import io
import re

import pytest
from rich.console import Console

from meridian import Scheduler, graph, sink, source
from meridian.cli.tables import Column, Picture, print_table, show_report

pytestmark = pytest.mark.req("N1.4")

WIDTHS = range(20, 141, 9)
EDGES = [
    Column("Edge", ["orders:out->enrich_with_address:in", "enrich_with_address:out->print:in"]),
    Column("Delivered", [1_234_567, 3]),
    Column("Per second", [2_813, 0]),
    Column("Left", [0, 0]),
    Column("Blocked", ["843 ms", ""]),
    Column("", ["worse", ""]),
]


def terminal(width: int, height: int = 25) -> Console:
    return Console(
        file=io.StringIO(),
        width=width,
        height=height,
        force_terminal=True,
        color_system=None,
        highlight=False,
    )


def shown(console: Console) -> list[str]:
    """Return the lines that a console shows, without blanks at their ends and the empty ones."""
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]


def names_in(lines: list[str]) -> str:
    """Return what stands in the first column, or where there are no columns, before what is indented."""
    begun = [line.removeprefix(" ") for line in lines if not line.startswith("  ")]
    return "".join(re.split(r"\s{2,}", line)[0] for line in begun)


def printed(columns: list[Column], width: int) -> list[str]:
    console = terminal(width)
    print_table(console, columns)
    return shown(console)


def test_names_are_folded_first():
    assert printed(EDGES, 62) == [
        "                                    Per",
        " Edge              Delivered     second  Left  Blocked",
        " ────────────────────────────────────────────────────────────",
        " orders:out->enri  1,234,567      2,813     0  843 ms   worse",
        " ch_with_address:",
        " in",
        " enrich_with_addr          3          0     0",
        " ess:out->print:i",
        " n",
    ]


def test_without_room_for_columns_facts_stand_below_their_names():
    assert printed(EDGES, 40) == [
        "orders:out->enrich_with_address:in",
        "  Delivered 1,234,567 · Per second 2,813",
        "  Left 0 · Blocked 843 ms · worse",
        "enrich_with_address:out->print:in",
        "  Delivered 3 · Per second 0 · Left 0",
    ]
    assert printed(EDGES, 20)[:8] == [
        "orders:out->enrich_w",
        "ith_address:in",
        "  Delivered",
        "  1,234,567",
        "  Per second 2,813",
        "  Left 0",
        "  Blocked 843 ms",
        "  worse",
    ]


def test_elsewhere_than_on_a_terminal_a_table_is_as_wide_as_its_text():
    console = Console(file=io.StringIO(), width=1000, highlight=False)
    print_table(console, EDGES)
    assert shown(console)[1:] == [
        "orders:out->enrich_with_address:in  1,234,567       2,813     0  843 ms   worse",
        "enrich_with_address:out->print:in           3           0     0",
    ]


@pytest.fixture
def report():
    """The report of a run with many edges."""
    start = source(["a"], name="records_of_all_the_customers")
    scheduler = Scheduler()
    scheduler.register(
        graph("many", *(start >> sink(len, name=f"reader_number_{i}_of_the_records") for i in range(30)))
    )
    scheduler.run()
    return scheduler.report()


def test_a_report_names_every_edge_and_node_at_any_width(report):
    names = [edge.id for edge in report.edges] + [each.name for each in report.nodes]
    for width in WIDTHS:
        console = terminal(width)
        show_report(report, console)
        lines = shown(console)
        assert max(map(len, lines)) <= width
        assert [name for name in names if name not in names_in(lines)] == [], width


def test_the_picture_of_a_run_names_its_edges_and_says_how_many_it_leaves_out(report):
    for width in (30, 40, 60, 80, 120):
        console = terminal(width)
        console.print(Picture().of(report, width, console.height))
        lines = shown(console)
        there = sum(edge.id in names_in(lines) for edge in report.edges)
        assert there > 0
        assert f"and {len(report.edges) - there} more edges, less full" in " ".join(lines)
