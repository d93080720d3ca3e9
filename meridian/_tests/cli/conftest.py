"""A folder with a graph in it, and the command as a process of its own."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from meridian.cli.app import app
from meridian.observability import ObservabilityConfig, configure_observability

DEMO = """
from meridian import graph, node, sink, source

@node
def double(x: int) -> int:
    return 2 * x

def build():
    return graph("demo", source(range(3)) >> double >> sink(print))
"""

# Nothing of the machine the tests run on decides what is written.
UNSET = (
    "NO_COLOR",
    "FORCE_COLOR",
    "PY_COLORS",
    "CLICOLOR_FORCE",
    "GITHUB_ACTIONS",
    "COLUMNS",
    "MERIDIAN_ENGINE",
)
# Before click 8.2 a runner mixes stderr into stdout unless it is told not to; since then it can't be told.
APART = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name not in UNSET},
    "TERM": "xterm",
    "PYTHONIOENCODING": "utf-8",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder; what targets leave in this process is removed at the end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(
            getattr(sys.modules[name], "__file__", None) or getattr(sys.modules[name], "__path__", "")
        ):
            del sys.modules[name]
    configure_observability(ObservabilityConfig())


@pytest.fixture
def write(folder):
    """Write a file into the folder, and what it needs above it."""

    def write(name: str, text: str = DEMO) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def meridian(folder):
    """Run the command in this process."""

    def run(*args: str):
        return CliRunner(**APART).invoke(app, list(args), prog_name="meridian")

    return run


@pytest.fixture
def process(folder):
    """Start the command as a process of its own; whatever is left of it at the end is killed."""
    started = []

    def start(*args: str, code: str | None = None, env: dict[str, str] | None = None, **options):
        command = [sys.executable, "-m", "meridian"] if code is None else [sys.executable, "-c", code]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        each = subprocess.Popen([*command, *args], env={**ENVIRONMENT, **(env or {})}, cwd=folder, **options)
        started.append(each)
        return each

    yield start
    for each in started:
        each.kill()
        each.wait()
        for stream in (each.stdout, each.stderr):
            if stream is not None:
                stream.close()
