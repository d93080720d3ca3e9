"""What users don't want to be told: comments, ``lint_ignore``, and ``[tool.meridian.lint]`` in pyproject.toml."""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from meridian.core.errors import ConfigError
from meridian.lint.model import Spot, check_ids, rules, unknown

if TYPE_CHECKING:
    import os

    from meridian.lint.source import Module

_COMMENT: Final = re.compile(r"#\s*meridian:\s*ignore\b(?:\[(?P<ids>[^\]]*)\])?(?P<reason>.*)")
_KEYS: Final = ("select", "ignore", "per-node")


@dataclass(frozen=True, slots=True)
class Settings:
    """Which rules look, for all graphs of a project.

    Attributes:
        select: Only these; all of them if ``None``.
        ignore: Not these.
        per_node: Not these for nodes and edges whose name or id fits a pattern, such as ``"store/*"``.
    """

    select: frozenset[str] | None = None
    ignore: frozenset[str] = frozenset()
    per_node: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])

    def looks(self, rule: str) -> bool:
        """Say whether a rule looks at all."""
        return rule not in self.ignore and (self.select is None or rule in self.select)

    def allows(self, rule: str, names: Iterable[str | None]) -> bool:
        """Say whether a rule's finding about these names is to be told."""
        return not any(
            rule in ids and any(name is not None and fnmatchcase(name, pattern) for name in names)
            for pattern, ids in self.per_node.items()
        )

    def narrowed(self, select: Iterable[str] | None, ignore: Iterable[str]) -> Settings:
        """Return settings in which ``select``, if given, replaces what is selected, and ``ignore`` is added.

        Raises:
            ValueError: an id is no rule's.
        """
        return Settings(
            self.select if select is None else check_ids(select),
            self.ignore | check_ids(ignore),
            self.per_node,
        )


def read_settings(folder: str | os.PathLike[str] = ".") -> Settings:
    """Read ``[tool.meridian.lint]`` of the nearest pyproject.toml, in ``folder`` or above it.

    Raises:
        ConfigError: the file can't be read, or says something that means nothing; names the file, the key and the fix.
    """
    here = Path(folder).resolve()
    file = next(
        (each / "pyproject.toml" for each in (here, *here.parents) if (each / "pyproject.toml").is_file()),
        None,
    )
    if file is None:
        return Settings()
    try:
        table: Any = tomllib.loads(file.read_text(encoding="utf-8"))
        for key in ("tool", "meridian", "lint"):
            table = table.get(key, {})
    except (OSError, ValueError, AttributeError) as error:
        said = str(error) if isinstance(error, tomllib.TOMLDecodeError) else type(error).__name__
        raise ConfigError(f"{file}: can't read [tool.meridian.lint]: {said}") from None
    return _settings(f"{file}: [tool.meridian.lint]", table)


def _settings(place: str, table: Any) -> Settings:
    if not isinstance(table, dict):
        raise ConfigError(f"{place} has to be a table with {', '.join(_KEYS)}")
    for key in table:
        if key not in _KEYS:
            close = get_close_matches(str(key), _KEYS, n=1, cutoff=0.5)
            near = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(_KEYS)}"
            raise ConfigError(f"{place} has no key {key!r}: {near}")
    per_node = table.get("per-node", {})
    if not isinstance(per_node, dict):
        raise ConfigError(
            f"{place} per-node has to be a table: a pattern of names, and a list of rules for each"
        )
    return Settings(
        _ids(f"{place} select", table["select"]) if "select" in table else None,
        _ids(f"{place} ignore", table.get("ignore", [])),
        {pattern: _ids(f"{place} per-node {pattern!r}", ids) for pattern, ids in per_node.items()},
    )


def _ids(place: str, ids: Any) -> frozenset[str]:
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        raise ConfigError(f"{place} has to be a list of rules, such as ['tiny-edge']")
    try:
        return check_ids(ids)
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from None


# ---- where the thing stands ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Ignore:
    """One suppression.

    Attributes:
        rules: What it is about.
        spot: Where a comment stands, or ``None`` for a mapping.
        said: What it is called in a message.
        used: Rules whose findings it suppressed.
    """

    rules: frozenset[str]
    spot: Spot | None
    said: str
    used: set[str] = field(default_factory=set[str])


def comments(module: Module) -> tuple[dict[int, Ignore], list[tuple[Spot, str]]]:
    """Return the comments of a file that suppress something, by line, and what is wrong with others."""
    good: dict[int, Ignore] = {}
    bad: list[tuple[Spot, str]] = []
    if not any("meridian:" in line for line in module.lines):
        return good, bad
    for line, text in module.comments():
        match = _COMMENT.search(text)
        if match is None:
            continue
        spot = Spot(module.file, line, line)
        ids = [each.strip() for each in (match["ids"] or "").split(",") if each.strip()]
        wrong = _wrong(ids, match["reason"].strip(" -:\t"))
        if wrong is None:
            good[line] = Ignore(frozenset(ids), spot, "comment")
        else:
            bad.append((spot, f"a comment suppresses nothing: {wrong}"))
    return good, bad


def mapping(owner: Any, said: str) -> tuple[Ignore | None, list[str]]:
    """Return what ``lint_ignore`` of a node or a graph suppresses, and what is wrong with it."""
    held = inspect.getattr_static(owner, "lint_ignore", None)
    if held is None:
        return None, []
    if not isinstance(held, Mapping):
        return None, [f"lint_ignore of {said} has to be a mapping of rule to reason"]
    bad: list[str] = []
    good: set[str] = set()
    for id, reason in held.items():
        wrong = _wrong([str(id)], reason if isinstance(reason, str) else "")
        if wrong is None:
            good.add(str(id))
        else:
            bad.append(f"lint_ignore of {said} suppresses nothing: {wrong}")
    return (Ignore(frozenset(good), None, f"lint_ignore of {said}") if good else None), bad


def _wrong(ids: list[str], reason: str) -> str | None:
    if not ids:
        return "name the rule in brackets, as in ignore[tiny-edge]"
    for id in ids:
        if id not in rules():
            return unknown(id)
    if not reason.strip():
        return f"say why behind {', '.join(ids)}"
    return None
