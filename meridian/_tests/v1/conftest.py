"""Every test here starts from, and leaves behind, a process as it is out of the box, and logs into a buffer."""

import importlib.util
import os
import subprocess
import sys

import pytest

from meridian._tests.core.conftest import debug, events, log, records

__all__ = ["debug", "events", "log", "records"]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project that is the current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def python(project):
    """Run Python with warnings as errors in the project; return what it printed."""

    def run(*args: str, code: int = 0) -> str:
        ran = subprocess.run(
            [sys.executable, "-W", "error", *args],
            cwd=project, env={**os.environ, "PYTEST_ADDOPTS": "-p no:cacheprovider"},
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert ran.returncode == code, ran.stdout + ran.stderr
        return ran.stdout

    return run


@pytest.fixture
def load(project):
    """Import a file by its path, under a name of its own."""

    def load_file(path):
        spec = importlib.util.spec_from_file_location(f"generated_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load_file
