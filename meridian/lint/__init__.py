"""Smells in a declared graph, found without running it.

::

    from meridian.lint import lint

    for each in lint(graph):
        print(each, each.fix)

    model       what a rule is and what it finds; rules.toml has their texts
    source      the source of functions, and what names in it mean
    view        what rules look at
    wiring      rules about nodes and edges
    handlers    rules about the code of handlers
    suppress    comments, mappings, pyproject.toml
    linting     all of it in one pass
"""

from __future__ import annotations

from meridian.lint.linting import lint
from meridian.lint.model import LEVELS, Lint, Rule, find_rule, rules
from meridian.lint.suppress import Settings, read_settings

__all__ = ["LEVELS", "Lint", "Rule", "Settings", "find_rule", "lint", "read_settings", "rules"]
