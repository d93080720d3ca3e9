"""The dashboard asks for what is exported, and Grafana can import it."""

import json
import re

import pytest

from meridian.observability.adapters.catalogue import CATALOGUE, SERIES, exposition_name
from meridian.observability.adapters.prometheus import grafana_dashboard

pytestmark = pytest.mark.req("N7", "X1")

METRICS = {exposition_name(metric): metric for metric in CATALOGUE}
OF_PROMETHEUS = {"instance", "job", SERIES}
WORDS = {"sum", "max", "by", "rate"}

DASHBOARD = json.loads(grafana_dashboard())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS = [(panel["title"], target) for panel in PANELS for target in panel["targets"]]


def labels_of(expression):
    """Return the labels that an expression selects by, and those that it groups by."""
    selected = {
        name for inner in re.findall(r"\{(.*?)\}", expression) for name in re.findall(r"(\w+)=", inner)
    }
    grouped = {name.strip() for inner in re.findall(r"by \((.*?)\)", expression) for name in inner.split(",")}
    return selected, grouped


@pytest.mark.parametrize(("title", "target"), TARGETS, ids=[f"{t} {each['refId']}" for t, each in TARGETS])
def test_a_panel_asks_for_names_and_labels_that_are_exported(title, target):
    expression = target["expr"]
    asked = set(re.findall(r"meridian_\w+", expression))
    assert asked
    assert asked <= METRICS.keys()
    selected, grouped = labels_of(expression)
    for name in asked:
        known = set(METRICS[name].labels) | OF_PROMETHEUS
        assert selected | grouped <= known
    assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= grouped
    counters = {name for name in asked if METRICS[name].kind == "counter"}
    assert counters == set(re.findall(r"rate\((\w+)", expression)), (
        "a counter is shown as a rate, and nothing else is"
    )
    rest = re.sub(r"\{.*?\}|\[.*?\]|by \(.*?\)|meridian_\w+", "", expression)
    assert set(re.findall(r"[a-z_]+", rest)) <= WORDS


def test_a_value_that_a_panel_selects_is_one_that_there_is():
    values = {"activity": {"busy", "blocked", "idle"}, "quantile": {"0.5", "0.9", "0.99", "1"}}
    for _, target in TARGETS:
        for name, value in re.findall(r'(\w+)="([^"]*)"', target["expr"]):
            assert value in values[name]


@pytest.mark.parametrize(
    "title",
    ["Throughput", "Busy", "Blocked", "Idle", "Fill", "Losses by cause", "Age of the oldest open wait", "Errors", "Loop lag",
     "Ready by band"],
)  # fmt: skip
def test_it_shows_what_an_operator_looks_for(title):
    assert title in {panel["title"] for panel in PANELS}


def test_it_has_the_shape_that_grafana_imports():
    assert DASHBOARD["id"] is None, "Grafana gives numbers itself"
    assert {"title", "uid", "panels", "templating", "time", "schemaVersion", "refresh"} <= DASHBOARD.keys()
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    names = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert names == {"datasource", "instance"}
    assert set(re.findall(r"\$\{?(\w+)", grafana_dashboard())) - {"__rate_interval"} == names
    for panel in PANELS:
        assert panel["description"].endswith(".")
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["type"] in {each["id"] for each in DASHBOARD["__requires"]}
        assert [each["refId"] for each in panel["targets"]] == list("ABC")[: len(panel["targets"])]


def test_no_panel_lies_on_another_or_leaves_the_page():
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert all(x < 24 for x, _ in cells)
        assert taken.isdisjoint(cells)
        taken |= cells
