"""The pages about adapters list what is exported, and their rules are ones that Prometheus takes."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from meridian.observability.adapters.catalogue import CATALOGUE, SERIES, exposition_name

pytestmark = pytest.mark.req("N7", "X1")

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "reference" / "adapters.md").read_text(encoding="utf-8")
HOW_TO = (ROOT / "docs" / "how-to" / "prometheus.md").read_text(encoding="utf-8")


def part(heading):
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_the_table_is_the_catalogue():
    listed = re.findall(
        r"^\| `(meridian_\w+)` \| (\w+) \| (.+?) \| (.+) \|$", part("The metrics of runs"), re.MULTILINE
    )
    assert listed == [
        (
            exposition_name(metric),
            {"quantiles": "summary"}.get(metric.kind, metric.kind),
            ", ".join(f"`{label}`" for label in metric.labels) or "–",
            metric.what,
        )
        for metric in CATALOGUE
    ]


def test_every_label_is_explained():
    first = [line.split("|")[1] for line in part("Labels").splitlines() if line.startswith("| `")]
    explained = set(re.findall(r"`(\w+)`", " ".join(first)))
    assert explained == {label for metric in CATALOGUE for label in metric.labels} | {SERIES}


def test_the_number_of_series_is_as_the_page_says():
    always = {"node": 0, "edge": 0}
    values = {"state": 3, "activity": 3}
    missing = {"edge.head_age", "edge.hop", "edge.hop.timed", "edge.size", "edge.size_limit", "edge.lost"}
    for metric in CATALOGUE:
        if metric.of in always and metric.name.removeprefix("meridian.") not in missing:
            number = 1
            for label in metric.more:
                number *= values.get(label, 1)
            always[metric.of] += number
    said = re.search(r"about (\d+) series for each node and (\d+) for each edge", PAGE)
    assert (int(said[1]), int(said[2])) == (always["node"], always["edge"])


def test_names_in_the_pages_are_exported():
    known = {exposition_name(metric) for metric in CATALOGUE}
    for page in (PAGE, HOW_TO):
        named = {
            name for name in re.findall(r"\bmeridian_\w+", page) if not name.startswith("meridian_runtime_")
        }
        assert named - {"meridian_runtime"} <= known


def test_promtool_takes_the_alerts(tmp_path):
    promtool = shutil.which("promtool")
    if promtool is None:
        if os.environ.get("CI"):
            pytest.fail("promtool is not installed")
        pytest.skip("promtool is not installed: apt-get install prometheus")
    for name, verb in (("alerts.yml", "rules"), ("prometheus.yml", "config")):
        text = re.search(rf'^```yaml title="{name}"\n(.*?)^```$', HOW_TO, re.MULTILINE | re.DOTALL)[1]
        (tmp_path / name).write_text(text, encoding="utf-8")
        ran = subprocess.run(
            [promtool, "check", verb, name],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr + ran.stdout
