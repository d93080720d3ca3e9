"""Graphs whose handlers stand in files."""

import importlib.util
import itertools
import sys

import pytest

_number = itertools.count(1)


@pytest.fixture
def load(tmp_path):
    """Import source text from a file, and return what its build() returns."""
    loaded = []

    def load(text: str):
        name = f"linted_{next(_number)}"
        path = tmp_path / f"{name}.py"
        path.write_text(text, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(name, path)
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        loaded.append(name)
        spec.loader.exec_module(module)
        return module.build()

    yield load
    for name in loaded:
        del sys.modules[name]
