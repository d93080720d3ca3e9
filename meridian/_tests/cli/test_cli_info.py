"""``meridian info``, the help, and completion."""

import json
import os
import platform
import socket
from importlib import metadata

import pytest

import meridian as package
from meridian import Scheduler, graph, sink, source
from meridian.cli.complete import complete_target
from meridian.cli.info import OPTIONAL
from meridian.engine.select import engine_factory, native
from meridian.introspect import serve
from meridian.runtime import cpu

pytestmark = pytest.mark.req("N1.4")
needs_sockets = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no unix sockets")


@pytest.mark.req("N2.2", "N3.1")
def test_info_names_version_engine_reason_python_and_processors(meridian):
    ran = meridian("info", "--json")
    said = json.loads(ran.stdout)
    _, engine = engine_factory()
    assert ran.exit_code == 0
    assert said["version"] == package.__version__
    extension = native()
    assert said["engine"] == {
        "name": engine.name, "reason": engine.reason, "refused": engine.refused, "asked": "auto",
        "build": None if extension is None else extension.build_info(),
    }  # fmt: skip
    assert said["python"]["version"] == platform.python_version()
    assert said["platform"] == platform.platform()
    assert (said["cpu"]["logical"], said["cpu"]["visible"]) == (cpu.detect().logical, cpu.detect().visible)
    assert said["packages"]["typer"] == {"extra": "cli", "version": metadata.version("typer")}


@pytest.mark.req("N2.2")
def test_info_says_the_same_in_words(meridian):
    _, engine = engine_factory()
    lines = meridian("info").stdout.splitlines()
    assert lines[0] == f"meridian  {package.__version__}"
    assert lines[1] == f"engine    {engine.name} ({engine.reason})"
    extension = native()
    assert (
        lines[2] == f"build     {'no extension is loaded' if extension is None else extension.build_info()}"
    )


@pytest.mark.req("N2.2")
def test_info_on_the_python_engine_loads_no_extension(meridian, monkeypatch):
    monkeypatch.setenv("MERIDIAN_ENGINE", "python")
    said = json.loads(meridian("info", "--json").stdout)["engine"]
    assert said == {
        "name": "python", "reason": "MERIDIAN_ENGINE=python", "refused": False, "asked": "python", "build": None,
    }  # fmt: skip
    assert meridian("info").stdout.splitlines()[2] == "build     no extension is loaded"


@pytest.mark.req("N2.2")
def test_info_explains_an_engine_that_cannot_be_had(meridian, monkeypatch):
    monkeypatch.setenv("MERIDIAN_ENGINE", "quick")
    said = json.loads(meridian("info", "--json").stdout)
    assert said["engine"] == {
        "name": None, "reason": "MERIDIAN_ENGINE='quick': use auto, python or rust", "refused": False,
        "asked": "quick", "build": None,
    }  # fmt: skip


def test_a_package_that_is_missing_comes_with_its_install_line(meridian, monkeypatch):
    def version(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("meridian.cli.info.metadata.version", version)
    assert "rich not installed: pip install 'meridian-runtime[cli]'" in meridian("info").stdout
    assert json.loads(meridian("info", "--json").stdout)["packages"]["rich"]["version"] is None


def test_the_optional_packages_are_those_of_the_extras():
    declared: dict[str, set[str]] = {}
    for requirement in metadata.requires("meridian-runtime"):
        name, _, marker = requirement.partition(";")
        if "extra ==" in marker:
            extra = marker.split("extra ==")[1].strip(" '\")")
            declared.setdefault(extra, set()).add(name.strip().partition(">")[0].partition("=")[0].strip())
    declared.pop("all")
    assert {extra: set(names) for extra, names in OPTIONAL.items()} == declared


@needs_sockets
@pytest.mark.req("N1.3", "N2.2")
def test_a_running_process_says_what_it_is_and_what_runs_in_it(meridian, tmp_path):
    place, ran = tmp_path / "s", []

    def ask(_):
        ran.extend(meridian("info", "--socket", str(place), *options) for options in (["--json"], []))

    scheduler = Scheduler()
    scheduler.register(graph("g", source([1], name="read") >> sink(ask, name="out")))
    with serve(place):
        scheduler.run()
    as_json, in_words = ran
    said = json.loads(as_json.stdout)
    _, engine = engine_factory()
    assert (as_json.exit_code, said["pid"], said["meridian"]) == (0, os.getpid(), package.__version__)
    assert said["python"] == platform.python_version()
    (run,) = said["runs"]
    assert run["engine"] == {"name": engine.name, "reason": engine.reason}
    assert (run["status"], run["nodes"], run["edges"], run["errors_total"]) == ("running", 2, 1, 0)
    lines = in_words.stdout.splitlines()
    assert lines[:3] == [
        f"process   {os.getpid()}",
        f"meridian  {package.__version__}",
        f"python    {platform.python_version()}",
    ]
    assert lines[3].startswith(f"run       {run['run']}: running for ")
    assert lines[4:] == [
        f"engine    {engine.name} ({engine.reason})",
        "graph     2 nodes, 1 edge, 0 errors",
    ]


@needs_sockets
@pytest.mark.req("N1.3")
def test_a_process_without_a_run_and_one_that_is_not_there(meridian, tmp_path):
    with serve(tmp_path / "s"):
        assert meridian("info", "--socket", str(tmp_path / "s")).stdout.endswith(
            "run       none is under way\n"
        )
    ran = meridian("info", "--socket", str(tmp_path / "s"), "--json")
    assert (ran.exit_code, "error" in json.loads(ran.stdout)) == (2, True)
    assert meridian("info", "--socket", "s", "--pid", "1").exit_code == 2


def test_the_version_is_an_option(meridian):
    ran = meridian("--version")
    assert (ran.exit_code, ran.stdout) == (0, f"meridian {package.__version__}\n")


def test_the_help_names_every_exit_code(meridian):
    text = meridian("--help").stdout
    for line in (
        "0 it ran to its end",
        "1 the run failed",
        "2 the command line is wrong",
        "3 a package",
        "130, 143 SIGINT",
    ):
        assert f"\n {line}" in text


@pytest.mark.parametrize("command", ["run", "validate", "info"])
def test_the_help_of_each_command_has_an_example(meridian, command):
    ran = meridian(command, "--help")
    assert ran.exit_code == 0
    assert f"Example: meridian {command}" in ran.stdout


def test_a_misspelt_command_is_a_usage_error(meridian):
    ran = meridian("rnu")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "rnu" in ran.stderr


def test_completion_goes_from_files_to_what_they_define_without_running_them(write):
    write(
        "app.py",
        "raise SystemExit\ndef build(): ...\nasync def later(): ...\n_x = 1\nready: int = 2\na = b = 3\n",
    )
    write("pkg/mod.py", "def inner(): ...\n")
    write("broken.py", "def (:\n")
    assert complete_target("") == ["app.py", "broken.py", "pkg/"]
    assert complete_target("a") == ["app.py"]
    assert complete_target("pkg/") == ["pkg/mod.py"]
    assert complete_target("nowhere/") == []
    assert complete_target("app.py:") == [
        "app.py:build",
        "app.py:later",
        "app.py:ready",
        "app.py:a",
        "app.py:b",
    ]
    assert complete_target("app:b") == ["app:build", "app:b"]
    assert complete_target("pkg.mod:") == ["pkg.mod:inner"]
    assert complete_target("broken.py:") == []
    assert complete_target("nowhere.py:") == []
