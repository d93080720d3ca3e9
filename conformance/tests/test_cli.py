import json
from pathlib import Path

import pytest

from meridian_conformance import __version__, cli

pytestmark = pytest.mark.req("X5")


def test_version_is_printed_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"meridian-conform {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [[], ["run"], ["walk"], ["run", "python", "--effort", "none"], ["replay", "x.json"]]
)
def test_arguments_that_make_no_sense_are_a_usage_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "no_such_module:Backend"], "can't import no_such_module"),
        (["run", "json:JSONDecoder"], "without a method open(spec)"),
        (["run", "json:nothing"], "module json has no nothing"),
        (["run", "python", "--profile", "cure"], "there is no profile 'cure'"),
        (["run", "python", "--waivers", "no-such-file.toml"], "No such file"),
        (["explain", "EDGE-999"], "there is no rule EDGE-999"),
        (["replay", "no-such-file.json", "--backend", "python"], "No such file"),
        (["selftest", "--fault", "NoSuchFault"], "there is no fault NoSuchFault"),
        (["selftest", "--without", "EDGE-999"], "there is no rule EDGE-999"),
    ],
)
def test_what_is_not_there_is_a_usage_error_that_says_so(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert says in said.err


def test_explain_tells_the_sentence_the_intent_and_the_likely_causes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["explain", "edge-113"]) == 0
    said = capsys.readouterr().out
    assert "fn(newest held, new) exactly once" in said
    assert "the arguments are swapped" in said
    assert "CoalescesTwice" in said


def test_rules_lists_every_rule(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rules", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["suite"] == "2.0.0"
    assert {"EDGE-101", "READY-201", "BRIDGE-301", "PERF-401"} <= {rule["id"] for rule in told["rules"]}
    assert cli.main(["rules"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(told["rules"])


def test_a_broken_backend_exits_with_1_and_leaves_a_history_that_replays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_backend_with_lifo.py").write_text(
        "from meridian_conformance import faults\nBackend = faults.load_all()['LastInFirstOut']\n"
    )
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "my_backend_with_lifo", "--out", "out", "--no-probe"]) == 1
    assert "EDGE-102" in capsys.readouterr().out
    assert (tmp_path / "out" / "result.json").exists()
    history = str(tmp_path / "out" / "failures" / "EDGE-102.json")
    assert cli.main(["replay", history, "--backend", "my_backend_with_lifo", "--backend", "python"]) == 1
    said = capsys.readouterr().out
    assert "my_backend_with_lifo: broke EDGE-102" in said
    assert "python: kept every rule" in said
    assert cli.main(["replay", history, "--backend", "python", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["played"][0]["broken"] == {}


def test_diff_finds_the_first_history_in_which_two_backends_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "backend_that_drops_the_oldest.py").write_text(
        "from meridian_conformance import faults\nBackend = faults.load_all()['DropsTheOldest']\n"
    )
    monkeypatch.chdir(tmp_path)
    assert cli.main(["diff", "python", "python", "--examples", "50"]) == 0
    assert "no difference in 50 histories" in capsys.readouterr().out
    assert cli.main(["diff", "python", "backend_that_drops_the_oldest", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["differs"]
    assert told["spec"]["policy"] == "drop"
    assert len(told["steps"]) == told["spec"]["capacity"] + 2
