"""The wheels for asv: what is built and installed for a commit, and what is said when there can be no second one."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("asv_bench", reason="the benchmarks are not part of the wheel")
from asv_bench import wheels

pytestmark = pytest.mark.req("X3")


@pytest.fixture
def commands(monkeypatch):
    """What is run instead of being run; cargo is in /cargo, unless `without` says so."""
    ran = SimpleNamespace(cargo="/cargo", commands=[], environments=[])

    def run(command, *, check, env=None, stdout=None, text=None):
        if Path(command[0]).name == "find-cargo":
            return SimpleNamespace(returncode=0 if ran.cargo else 1, stdout=f"{ran.cargo}\n")
        assert check
        ran.commands.append([str(each) for each in command])
        ran.environments.append(env)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(wheels.subprocess, "run", run)
    return ran


@pytest.fixture
def source(tmp_path):
    manifest = tmp_path / "source" / "fast" / "Cargo.toml"
    manifest.parent.mkdir(parents=True)
    manifest.touch()
    return tmp_path / "source"


def test_both_wheels_are_built_by_the_pinned_builders_and_the_second_lies_apart(commands, source, tmp_path):
    wheels.build(source, tmp_path / "cache")
    first, second = commands.commands
    assert first[0].endswith("/.venv/bin/python")
    assert first[-2:] == [str(tmp_path / "cache"), str(source)]
    assert second[0].endswith("/.venv/bin/maturin")
    assert second[-1] == str(tmp_path / "cache" / "fast")
    assert commands.environments[1]["PATH"].split(os.pathsep)[0] == "/cargo"
    assert commands.environments[1]["CARGO_TARGET_DIR"].endswith("/build/asv/target")


def test_without_cargo_there_is_one_wheel_and_a_word_about_the_other(commands, source, tmp_path, capsys):
    commands.cargo = ""
    wheels.build(source, tmp_path / "cache")
    assert len(commands.commands) == 1
    assert "cargo was not found" in capsys.readouterr().out


def test_a_commit_without_the_engine_in_rust_has_one_wheel(commands, tmp_path, capsys):
    wheels.build(tmp_path, tmp_path / "cache")
    assert len(commands.commands) == 1
    assert "this commit has no meridian-fast" in capsys.readouterr().out


@pytest.mark.parametrize("native", [True, False])
def test_requirements_are_installed_by_hash_and_an_engine_of_another_commit_goes_first(
    commands, tmp_path, native
):
    made = [tmp_path / "meridian_runtime.whl"] + [tmp_path / "fast" / "meridian_fast.whl"] * native
    for each in made:
        each.parent.mkdir(exist_ok=True)
        each.touch()
    wheels.install(tmp_path)
    requirements, goes, comes = commands.commands
    assert "--require-hashes" in requirements
    assert goes[-1] == "meridian-fast"
    assert "--no-index" in comes
    assert [each for each in comes if each.endswith(".whl")] == [str(each) for each in made]
