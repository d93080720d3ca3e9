"""The rules, read from ``rules.toml``, and what must be true of them."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

LEVELS: Final = ("MUST", "SHOULD", "MAY")
KINDS: Final = ("deterministic", "stochastic", "untestable")
TARGETS: Final = ("edge", "ready", "engine", "bridge")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        id: Such as ``EDGE-103``; never reused.
        level: ``MUST``, ``SHOULD`` or ``MAY``.
        kind: ``deterministic``, ``stochastic`` or ``untestable``.
        target: What it is asked of: ``edge``, ``ready``, ``engine`` or ``bridge``.
        profile: The profile in which it is judged.
        sentence: What has to hold.
        intent: Why.
        causes: What breaks it most often.
        needs: Capabilities without which it isn't applicable.
        since: Version of the suite that brought it.
        requirements: Ids of the requirements that it stands for.
        tests: Names of the checks that judge it.
        faults: Names of the seeded faults that these checks have to find.
        situations: How often each situation has to occur, or the verdict is vacuous.
        reason: Why it can't be tested; only of untestable ones.
    """

    id: str
    level: str
    kind: str
    target: str
    profile: str
    sentence: str
    intent: str
    causes: tuple[str, ...]
    needs: frozenset[str]
    since: str
    requirements: tuple[str, ...]
    tests: tuple[str, ...]
    faults: tuple[str, ...]
    situations: Mapping[str, int]
    reason: str = ""

    @property
    def testable(self) -> bool:
        """Whether checks can judge it."""
        return self.kind != "untestable"

    @property
    def binding(self) -> bool:
        """Whether breaking it is a failure."""
        return self.level == "MUST"


class RulesError(ValueError):
    """The rules contradict themselves, or what the kit holds.

    Attributes:
        problems: What is wrong, one line each.
    """

    def __init__(self, problems: Collection[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("rules.toml:" + "".join(f"\n  {problem}" for problem in self.problems))


_FIELDS: Final = frozenset(Rule.__dataclass_fields__)


def parse(text: str) -> tuple[str, dict[str, Rule]]:
    """Read rules; return the suite's version and the rules by id, in order.

    Raises:
        RulesError: a field is missing or unknown, or an id occurs twice.
    """
    data = tomllib.loads(text)
    rules: dict[str, Rule] = {}
    problems: list[str] = []
    for entry in data.get("rule", []):
        id = entry.get("id", "?")
        missing = sorted(_FIELDS - set(entry) - {"reason"})
        unknown = sorted(set(entry) - _FIELDS)
        if missing or unknown:
            problems += [f"{id}: {name} is missing" for name in missing]
            problems += [f"{id}: {name} is not a field of a rule" for name in unknown]
        elif id in rules:
            problems.append(f"{id} occurs twice; ids are never reused")
        else:
            rules[id] = _rule(entry)
    if problems:
        raise RulesError(problems)
    return data["suite"], rules


def _rule(entry: Mapping[str, Any]) -> Rule:
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()
    }
    fields["needs"] = frozenset(entry["needs"])
    return Rule(**fields)


@cache
def _loaded() -> tuple[str, dict[str, Rule]]:
    return parse((files("meridian_conformance") / "rules.toml").read_text(encoding="utf-8"))


def load() -> dict[str, Rule]:
    """Return the rules of this suite by id, in order."""
    return _loaded()[1]


def suite_version() -> str:
    """Return the version of this suite of rules."""
    return _loaded()[0]


def find(id: str) -> Rule:
    """Return one rule.

    Raises:
        KeyError: there is none with that id; the text says which there are.
    """
    rules = load()
    if id not in rules:
        raise KeyError(f"there is no rule {id}; there are {', '.join(rules)}")
    return rules[id]


def problems(
    rules: Iterable[Rule],
    checks: Mapping[str, Collection[str]],
    faults: Mapping[str, str],
    capabilities: Collection[str],
) -> list[str]:
    """Return what is wrong with the rules, given what the kit holds; empty when all is well.

    Args:
        rules: The rules.
        checks: Rules that each check judges, by the check's name.
        faults: The rule that has to catch each seeded fault, by the fault's name.
        capabilities: All that a backend can claim.
    """
    wrong: list[str] = []
    named: set[str] = set()
    known: set[str] = set()
    for rule in rules:
        known.add(rule.id)
        named.update(rule.faults)
        wrong += [
            f"{rule.id}: {name} is {value!r}, which is none of {', '.join(among)}"
            for name, value, among in (
                ("level", rule.level, LEVELS),
                ("kind", rule.kind, KINDS),
                ("target", rule.target, TARGETS),
            )
            if value not in among
        ]
        wrong += [
            f"{rule.id}: needs {name!r}, which nobody can claim" for name in rule.needs - set(capabilities)
        ]
        if not rule.testable:
            if not rule.reason:
                wrong.append(f"{rule.id}: untestable without a reason")
            if rule.tests or rule.faults:
                wrong.append(f"{rule.id}: untestable, and yet it names tests or faults")
            continue
        if rule.binding and not rule.tests:
            wrong.append(f"{rule.id}: a MUST without a test")
        if rule.binding and not rule.faults:
            wrong.append(f"{rule.id}: a MUST without a fault that proves its test")
        if not rule.situations:
            wrong.append(f"{rule.id}: no situation that has to occur, so it could never be vacuous")
        if not rule.requirements:
            wrong.append(f"{rule.id}: no requirement that it stands for")
        wrong += [f"{rule.id}: there is no check {name!r}" for name in rule.tests if name not in checks]
        wrong += [
            f"{rule.id}: check {name!r} doesn't judge it"
            for name in rule.tests
            if name in checks and rule.id not in checks[name]
        ]
        wrong += [
            f"{rule.id}: there is no fault {name!r}"
            if name not in faults
            else f"{rule.id}: {name} is a fault of {faults[name]}"
            for name in rule.faults
            if faults.get(name) != rule.id
        ]
    wrong += [f"fault {name}: rule {id} doesn't name it" for name, id in faults.items() if name not in named]
    wrong += [
        f"check {name!r}: judges {id}, which isn't a rule"
        for name, judged in checks.items()
        for id in judged
        if id not in known
    ]
    return wrong
