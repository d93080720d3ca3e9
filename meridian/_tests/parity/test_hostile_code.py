"""Hostile code comes to the same end on both engines, and no process comes to harm, in the strictest mode there is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache

import pytest

from meridian._tests.parity import hostile
from meridian._tests.parity.parts import ENGINES

Outcomes = dict[str, str]


@pytest.fixture(scope="module")
def outcomes() -> Callable[[str], Outcomes]:
    """Returns what came of each scene on an engine, in a process of its own that checks its memory."""

    @cache
    def of(engine: str) -> Outcomes:
        ran = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", "-m", hostile.__name__, engine],
            env={**os.environ, "MERIDIAN_ENGINE": engine, "PYTHONMALLOC": "debug"},
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert ran.returncode == 0, f"{ran.stdout[-500:]}\n{ran.stderr}"
        assert "Fatal Python error" not in ran.stderr
        return dict(map(json.loads, ran.stdout.splitlines()))

    return of


@pytest.mark.req("N2.1")
@pytest.mark.parametrize("name", hostile.SCENES)
def test_hostile_code_comes_to_the_same_end(name: str, outcomes: Callable[[str], Outcomes]):
    python, rust = (outcomes(engine)[name] for engine in ENGINES)
    assert rust == python
    assert not python.startswith(("TypeError", "NameError")), "the scene itself is broken"
