"""The page of the lint rules is up to date, and the project's own examples are clean."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from meridian._tests.docs.test_docs_run import name, runnable
from meridian._tests.house.test_tree import load
from meridian.lint import lint, rules
from meridian.nodes.catalogue import catalogue
from meridian.scaffolding import generate_node_template, generate_subgraph_template
from meridian.testing import assert_lint_clean

ROOT = Path(__file__).resolve().parents[3]
PAGES = (
    "README.md",
    *(f"docs/{page}.md" for page in ("quickstart", "explanation/policies", "explanation/scheduling")),
    *(
        f"docs/how-to/{page}.md"
        for page in (
            "feed-from-outside",
            "nodes-with-state-and-time",
            "observe",
            "use-v1-style-nodes",
            "wire-a-graph",
        )
    ),
)

pytestmark = pytest.mark.req("N1.3")


def test_the_page_of_lint_rules_is_up_to_date():
    script = load(ROOT, "lint_page")
    assert (ROOT / script.PAGE).read_text(encoding="utf-8") == script.page(), "run `make fmt`"


def test_every_rule_has_its_row_and_its_section():
    text = load(ROOT, "lint_page").page()
    assert sorted(re.findall(r"^## ([a-z-]+)$", text, re.MULTILINE)) == sorted(rules())
    assert sorted(re.findall(r"^\| \[([a-z-]+)\]", text, re.MULTILINE)) == sorted(rules())


def test_pages_and_examples_of_ready_made_nodes_have_nothing_to_mend(tmp_path: Path):
    examples = [
        {"name": f"{name(ROOT / page)}:{block['line']}", "source": block["source"]}
        for page in PAGES
        for block in runnable(ROOT / page)
    ]
    examples += [{"name": entry.name, "source": entry.example} for entry in catalogue() if entry.example]
    (tmp_path / "blocks.json").write_text(json.dumps(examples), encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("lint_blocks.py")), "blocks.json"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-4000:]
    said = json.loads(ran.stdout)
    assert said["linted"] >= 90
    # The quickstart shows what a run refuses.
    assert {key.partition(":")[0] for key in said["found"]} == {"docs/quickstart.md"}
    assert [each for told in said["found"].values() for each in told if "invalid-graph" not in each] == []


def test_the_access_log_example_has_nothing_to_mend():
    path = ROOT / "docs" / "examples" / "access_log" / "graph.py"
    spec = importlib.util.spec_from_file_location("access_log_graph_for_lint", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.build([b""])
    assert_lint_clean(made)
    assert "unseen" not in {each.rule for each in lint(made)}


def test_what_scaffolding_writes_has_nothing_to_mend(tmp_path: Path):
    texts = {
        "order_filter": generate_node_template("OrderFilter", {"order": "dict"}, {"kept": "int"}),
        "order_flow": generate_subgraph_template("OrderFlow"),
    }
    for module_name, text in texts.items():
        path = tmp_path / f"{module_name}.py"
        path.write_text(text, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(f"scaffolded_{module_name}", path)
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        made = module.OrderFilter() if module_name == "order_filter" else module.OrderFlow()
        assert [str(each) for each in lint(made, ignore=["never-fed"]) if each.level != "note"] == []
