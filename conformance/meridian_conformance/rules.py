"""The rules, read from ``rules.toml``, and what must be true of them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

LEVELS: Final = ("MUST", "SHOULD", "MAY")
KINDS: Final = ("deterministic", "stochastic", "untestable")
TARGETS: Final = ("edge", "ready", "engine", "node", "bridge")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        id: Such as ``EDGE-103``; never reused.
        level: ``MUST``, ``SHOULD`` or ``MAY``.
        kind: ``deterministic``, ``stochastic`` or ``untestable``.
        target: What it is asked of: ``edge``, ``ready``, ``engine``, ``node`` or ``bridge``.
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
        binds: Version of the suite from which a MUST binds, if that isn't the one that brought it; until then it is judged as
            a SHOULD.
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
    binds: str = ""

    @property
    def testable(self) -> bool:
        """Whether checks can judge it."""
        return self.kind != "untestable"

    @property
    def binding(self) -> bool:
        """Whether breaking it is a failure, now or in a later suite."""
        return self.level == "MUST"

    def binds_after(self, suite: str) -> str:
        """Return the later suite from which it binds; empty if it binds in that suite already, or never."""
        return self.binds if self.binds and numbers(suite) < numbers(self.binds) else ""

    def level_in(self, suite: str) -> str:
        """Return its level in that suite: a MUST that doesn't bind yet is a SHOULD."""
        return "SHOULD" if self.binds_after(suite) else self.level


class RulesError(ValueError):
    """The rules contradict themselves, or what the kit holds.

    Attributes:
        problems: What is wrong, one line each.
    """

    def __init__(self, problems: Collection[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("rules.toml:" + "".join(f"\n  {problem}" for problem in self.problems))


def numbers(version: str) -> tuple[int, ...]:
    """Return a version as numbers that can be compared.

    Raises:
        ValueError: it is none.
    """
    return tuple(map(int, version.split(".")))


_FIELDS: Final = frozenset(Rule.__dataclass_fields__)
_OPTIONAL: Final = frozenset({"reason", "binds"})


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
        missing = sorted(_FIELDS - set(entry) - _OPTIONAL)
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
    rules = list(rules)
    wrong = _wrong_versions(rules)
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


def _wrong_versions(rules: Collection[Rule]) -> list[str]:
    """Return which rules don't announce themselves: a later MUST is a SHOULD first, for one minor release at least.

    Rules that nobody can break who didn't claim anything new may bind at once: those of a capability that came with them.
    """
    for name in ("since", "binds"):
        if malformed := [
            f"{rule.id}: {name} is {version!r}, which isn't a version such as 2.0"
            for rule in rules
            if (version := getattr(rule, name)) and not re.fullmatch(r"\d+\.\d+", version)
        ]:
            return malformed
    wrong: list[str] = []
    first = min((numbers(rule.since) for rule in rules), default=())
    claimed_since: dict[str, tuple[int, ...]] = {}
    for rule in rules:
        for need in rule.needs:
            claimed_since[need] = min(claimed_since.get(need, (1 << 30,)), numbers(rule.since))
    for rule in rules:
        since = numbers(rule.since)
        if rule.binds and not rule.binding:
            wrong.append(f"{rule.id}: a {rule.level} never binds, so it can't say since when")
        elif rule.binds and numbers(rule.binds) <= since:
            wrong.append(
                f"{rule.id}: it binds from {rule.binds}, which isn't after {rule.since}, that brought it"
            )
        elif rule.binding and rule.testable and not rule.binds and since > first:
            new = any(claimed_since[need] == since for need in rule.needs)
            if not new:
                wrong.append(
                    f"{rule.id}: a MUST that came with {rule.since} has to say from which later suite it binds"
                )
    return wrong
