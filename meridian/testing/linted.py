"""A test that holds a graph free of smells."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from meridian.core.node import Node
    from meridian.core.scheduler import Scheduler
    from meridian.core.subgraph import Subgraph

__all__ = ["assert_lint_clean"]


def assert_lint_clean(
    graph: Subgraph | Scheduler | Node | Iterable[Subgraph] | Callable[[], Subgraph | Scheduler],
    *,
    select: Iterable[str] | None = None,
    ignore: Iterable[str] = (),
) -> None:
    """Fail if `meridian.lint.lint` finds errors or warnings in a graph; notes pass.

    Args:
        graph: A graph, several that are run together, one node, a scheduler with what is registered there; or a function
            that makes a graph or a scheduler, so that findings about edges have their lines and comments reach them.
        select: Ids of the rules to look with; those that pyproject.toml selects by default.
        ignore: Ids of rules to leave out, besides those that pyproject.toml ignores.

    Raises:
        AssertionError: something was found; says what, where, and how to mend it.
        ConfigError, ValueError: there is no rule of that name, in pyproject.toml or here.

    The settings are those of the nearest pyproject.toml, in the current folder or above it, as for ``meridian lint``.
    """
    from meridian.core.places import recorded
    from meridian.lint import lint, read_settings

    __tracebackhide__ = True  # pytest shows the line of the test instead
    settings = read_settings().narrowed(select, ignore)
    with recorded() as places:
        made = graph() if callable(graph) else graph
    found = lint(made, settings=settings, places=places)
    told = [each for each in found if each.level != "note"]
    if told:
        lines = "".join(f"\n  {each}\n    {each.fix}" for each in told)
        raise AssertionError(f"the graph is not lint-clean:{lines}")
