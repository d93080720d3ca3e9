"""The pages about the conformance kit show what is in it: its example, its options, its verdicts, a workflow that works."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from meridian_conformance import cli, plugin, rules
from meridian_conformance.contract import Capability
from meridian_conformance.verdicts import Verdict

pytestmark = pytest.mark.req("X5")

ROOT = Path(__file__).resolve().parents[3]
HOW_TO = ROOT / "docs" / "how-to"
WRITE = (HOW_TO / "write-an-edge-backend.md").read_text(encoding="utf-8")
READ = (HOW_TO / "read-a-conformance-report.md").read_text(encoding="utf-8")
IN_CI = (HOW_TO / "conformance-in-ci.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs" / "reference" / "conformance.md").read_text(encoding="utf-8")
EXAMPLES = ROOT / "conformance" / "examples"


def block(page: str, title: str) -> str:
    return re.search(rf'^```\w+ title="{re.escape(title)}"\n(.*?)^```$', page, re.MULTILINE | re.DOTALL)[1]


def test_the_toy_backend_of_the_page_is_the_one_that_is_tested():
    assert block(WRITE, "toy.py") == (EXAMPLES / "toy.py").read_text(encoding="utf-8")


def test_the_workflow_of_the_page_is_the_example():
    assert block(IN_CI, ".github/workflows/conformance.yml") == (EXAMPLES / "workflow.yml").read_text("utf-8")


def words(text: str) -> list[list[str]]:
    """The commands of shell text, one list of words each."""
    return [shlex.split(line) for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def steps() -> list[dict]:
    yaml = pytest.importorskip("yaml")  # comes with the tools for lint and docs
    workflow = yaml.safe_load((EXAMPLES / "workflow.yml").read_text(encoding="utf-8"))
    assert set(workflow[True]) == {"push", "pull_request", "schedule"}  # YAML 1.1 reads `on` as true
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    return job["steps"]


def test_the_workflow_installs_by_plain_pip_and_keeps_what_was_found():
    installs = [step["run"] for step in steps() if "pip" in step.get("run", "")]
    assert installs == ['pip install . "meridian-conformance==2.0.*"']
    (upload,) = [step for step in steps() if "upload-artifact" in step.get("uses", "")]
    assert upload["if"] == "always()"
    assert upload["with"]["path"] == "out/"


def test_the_commands_of_the_workflow_are_right_and_write_where_it_uploads_from():
    commands = [step["run"] for step in steps() if "meridian-conform " in step.get("run", "")]
    assert len(commands) == 2
    for command in commands:
        program, *args = shlex.split(command)
        assert program == "meridian-conform"
        assert cli.parser().parse_args(args).out == Path("out")


def shell_blocks() -> list[str]:
    pages = (WRITE, READ, IN_CI)
    return [
        found for page in pages for found in re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    ]


def test_every_command_on_the_pages_can_be_parsed():
    parsed = set()
    for command in (each for found in shell_blocks() for each in words(found)):
        if command[0] == "meridian-conform":
            cli.parser().parse_args(command[1:])
        elif command[0] == "pytest":
            given = {word for word in command if word.startswith("--meridian")}
            assert given <= set(options_of_the_plugin())
        parsed.add(command[0])
    assert parsed == {"pip", "meridian-conform", "pytest"}


class Recorder:
    """Takes options as pytest's parser does, and keeps their names."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def getgroup(self, *_) -> "Recorder":
        return self

    def addoption(self, name: str, **_) -> None:
        self.names.append(name)


def options_of_the_plugin() -> list[str]:
    recorder = Recorder()
    plugin.pytest_addoption(recorder)
    return recorder.names


def options_on_the_page(heading: str) -> list[str]:
    section = REFERENCE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(--[a-z-]+)", section, re.MULTILINE)


def subcommands() -> dict[str, Any]:
    return cli.parser()._subparsers._group_actions[0].choices


def test_the_reference_lists_the_options_of_run():
    text = subcommands()["run"].format_help()
    there = re.findall(r"^  (--[a-z-]+)", text, re.MULTILINE)
    assert options_on_the_page("meridian-conform") == [
        name for name in there if name not in {"--help", "--json"}
    ]


def test_the_reference_lists_the_options_of_the_plugin():
    assert options_on_the_page("pytest") == options_of_the_plugin()


def test_the_reference_lists_every_command():
    listed = re.findall(r"^\| `meridian-conform (\w+)", REFERENCE, re.MULTILINE)
    assert sorted(listed) == sorted(subcommands())


def test_the_table_of_capabilities_is_complete():
    table = WRITE.partition("| capability | you add | brings |")[2].partition("\n\n")[0]
    listed = [
        name
        for row in table.splitlines()
        for name in re.findall(r"`(\w+)`", row.split("|")[1:2][0] if row else "")
    ]
    targets = {
        each: {rule.target for rule in rules.load().values() if each in rule.needs} for each in Capability
    }
    elsewhere = {each for each, of in targets.items() if of and "edge" not in of}
    assert sorted(listed) == sorted(str(each) for each in Capability if each not in elsewhere)
    guides = {
        "ready": "write-a-ready-queue.md",
        "engine": "write-an-engine.md",
        "node": "write-a-node.md",
    }
    for each in elsewhere:
        for target in targets[each]:
            assert f"`{each}`" in (HOW_TO / guides[target]).read_text(encoding="utf-8")


def test_the_table_of_verdicts_is_complete():
    listed = re.findall(r"^\| \*([a-z ]+)\* \|", READ, re.MULTILINE)
    assert sorted(listed) == sorted(each.replace("_", " ") for each in Verdict)
