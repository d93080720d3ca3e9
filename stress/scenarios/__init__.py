"""The scenarios: each module holds one, called `SCENARIO`."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stress.scenario import Scenario


def names() -> list[str]:
    """Return the names of all scenarios, without loading one."""
    return sorted(module.name.replace("_", "-") for module in iter_modules(__path__))


def load(name: str) -> Scenario:
    """Return the scenario of that name."""
    scenario: Scenario = import_module(f"{__name__}.{name.replace('-', '_')}").SCENARIO
    return scenario
