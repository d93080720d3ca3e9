from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian.observability import PrometheusConfig, PrometheusMetrics
from meridian.observability.exposition import families, legal_name, render

LINE = re.compile(
    r"# TYPE [a-zA-Z_:][a-zA-Z0-9_:]* (counter|gauge|histogram)"
    r"|(?P<series>[a-zA-Z_:][a-zA-Z0-9_:]*(\{(?P<labels>.*)\})?) (NaN|[+-]Inf|-?[0-9.]+(e[+-]?[0-9]+)?)"
)
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')


@pytest.mark.req("X1")
def test_the_exposition_is_the_prometheus_text_format():
    metrics = PrometheusMetrics(PrometheusConfig(default_buckets=[0.5, 1]))
    metrics.counter("node_messages_total", {"node": "b"}).inc(3)
    metrics.counter("node_messages_total", {"node": 'a"\\\n'}).inc()
    metrics.gauge("depth").set(1.5)
    metrics.histogram("wait_seconds", {"le": "mine"}).observe(0.7)
    assert metrics.render() == (
        "# TYPE meridian_runtime_node_messages_total counter\n"
        'meridian_runtime_node_messages_total{node="b"} 3\n'
        'meridian_runtime_node_messages_total{node="a\\"\\\\\\n"} 1\n'
        "# TYPE meridian_runtime_depth gauge\n"
        "meridian_runtime_depth 1.5\n"
        "# TYPE meridian_runtime_wait_seconds histogram\n"
        'meridian_runtime_wait_seconds_bucket{le_label="mine",le="0.5"} 0\n'
        'meridian_runtime_wait_seconds_bucket{le_label="mine",le="1"} 1\n'
        'meridian_runtime_wait_seconds_bucket{le_label="mine",le="+Inf"} 1\n'
        'meridian_runtime_wait_seconds_sum{le_label="mine"} 0.7\n'
        'meridian_runtime_wait_seconds_count{le_label="mine"} 1\n'
    )


def test_nothing_renders_as_nothing():
    assert PrometheusMetrics().render() == ""


@pytest.mark.parametrize(
    ("name", "legal"),
    [("meridian-runtime_x", "meridian_runtime_x"), ("9lives", "_9lives"), ("", "_"), ("ü:b", "_:b")],
)
def test_names_are_made_legal(name: str, legal: str):
    assert legal_name(name) == legal


def test_names_that_would_collide_are_kept_apart():
    found = families(
        "",
        [("a-b", (), 1.0), ("a_b", (), 2.0), ("a.b", (), 3.0), ("a_b", (("x-y", "1"), ("x_y", "2")), 4.0)],
        [("a_b", (), 5.0)],
        [],
    )
    text = render(found)
    assert text == (
        "# TYPE a_b counter\na_b 1\n"
        "# TYPE a_b_counter counter\na_b_counter 2\n"
        'a_b_counter{x_y="1",x_y_label="2"} 4\n'
        "# TYPE a_b_counter_2 counter\na_b_counter_2 3\n"
        "# TYPE a_b_gauge gauge\na_b_gauge 5\n"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (float("nan"), "NaN"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
        (3.0, "3"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
    ],
)
def test_numbers_are_written_as_the_format_wants(value: float, shown: str):
    assert render(families("", [], [("g", (), value)], [])) == f"# TYPE g gauge\ng {shown}\n"


series = st.tuples(
    st.text(max_size=8),
    st.dictionaries(st.text(max_size=4), st.text(max_size=8), max_size=3).map(
        lambda d: tuple(sorted(d.items()))
    ),
    st.floats(),
)


@given(
    st.text(max_size=4),
    st.lists(series, unique_by=lambda s: s[:2]),
    st.lists(series, unique_by=lambda s: s[:2]),
)
def test_any_names_give_a_legal_exposition_without_duplicates(namespace, counters, gauges):
    text = render(families(namespace, counters, gauges, []))
    seen: set[str] = set()
    for line in text.split("\n")[:-1]:
        match = LINE.fullmatch(line)
        assert match, line
        name = match["series"] or line.rpartition(" ")[0]
        assert name not in seen
        seen.add(name)
        if match["labels"]:
            names = [label[0] for label in LABEL.findall(match["labels"])]
            assert (
                "".join("".join((f'{n}="{v}"', comma)) for n, v, comma in LABEL.findall(match["labels"]))
                == match["labels"]
            )
            assert len(names) == len(set(names))
