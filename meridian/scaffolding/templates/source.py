"""What the templates share: imports in the order that formatters want, and lines put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def import_block(names: Mapping[str, Iterable[str]], modules: Iterable[str] = ()) -> list[str]:
    """Return import statements in the order that formatters want: whole modules first, then names of modules."""
    return [
        *(f"import {module}" for module in sorted(modules)),
        *(f"from {module} import {', '.join(sorted(names[module], key=_rank))}" for module in sorted(names)),
    ]


def _rank(name: str) -> tuple[int, str]:
    """Constants come before classes, and those before the rest."""
    return (0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2, name.lower())


def module_under_test(ours: str, module: str, name: str, is_own: bool) -> list[str]:
    """Return the import of Meridian and that of the module under test in order.

    A module in a folder called src is the project's own to formatters, and comes last; others are like any package.
    """
    tested = f"from {module} import {name}"
    return [ours, "", tested] if is_own else sorted([ours, tested])


def source(*blocks: str | Iterable[str]) -> str:
    """Join lines, and blocks of lines, to source text."""
    lines: list[str] = []
    for block in blocks:
        lines.extend([block] if isinstance(block, str) else block)
    return "\n".join(lines) + "\n"
