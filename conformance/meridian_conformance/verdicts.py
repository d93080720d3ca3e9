"""What a run found: verdicts, by rule, and all that a report needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Final

from meridian_conformance.failures import Trace

RESULT_FORMAT: Final = 1


class Verdict(StrEnum):
    """What was found about one rule."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    """It held, and could have been broken often enough."""
    FAIL = "fail"
    """It was broken; there is a failure with a history."""
    WAIVED = "waived"
    """It was broken, and a waiver says why that is known."""
    NOT_APPLICABLE = "not_applicable"
    """It needs a capability that the backend doesn't claim."""
    VACUOUS = "vacuous"
    """It wasn't broken, but the situations that could break it didn't occur often enough: not a pass."""
    INCONCLUSIVE = "inconclusive"
    """It was tried, but this machine is too noisy to tell: neither a pass nor a failure."""
    UNTESTABLE = "untestable"
    """Listed, so that it isn't forgotten; nothing judges it."""
    ERROR = "error"
    """The kit couldn't judge: a check failed by itself, or the kit's own model and reference disagree."""


class ExitCode(IntEnum):
    """What `meridian-conform` says to its caller."""

    PASSED = 0
    BROKEN = 1
    USAGE = 2
    INCONCLUSIVE = 3


@dataclass(slots=True)
class Failure:
    """One way in which a rule was broken.

    Attributes:
        rule: The rule's id.
        facts: What was expected and what was found, as text.
        trace: The shortest history that shows it.
        check: The check that found it.
    """

    rule: str
    facts: dict[str, str]
    trace: Trace
    check: str = ""


@dataclass(slots=True)
class Situation:
    """How often something occurred that could have broken a rule.

    Attributes:
        name: What occurred.
        seen: How often.
        needed: How often it has to for the verdict to count.
    """

    name: str
    seen: int
    needed: int


@dataclass(slots=True)
class RuleResult:
    """What was found about one rule.

    Attributes:
        rule: Its id.
        level: ``MUST``, ``SHOULD`` or ``MAY``, as the suite of the result has it.
        profile: The profile that judged it.
        verdict: See `Verdict`.
        reason: Why, in a sentence, where the verdict doesn't say it by itself.
        situations: How often what could break it occurred.
        failures: How it was broken, shortest history first.
        waiver: The waiver's reason, issue and expiry, if one names the rule.
        binds: The later suite from which it will be a MUST, if it isn't one yet.
    """

    rule: str
    level: str
    profile: str
    verdict: Verdict
    reason: str = ""
    situations: list[Situation] = field(default_factory=list[Situation])
    failures: list[Failure] = field(default_factory=list[Failure])
    waiver: dict[str, str] | None = None
    binds: str = ""

    @property
    def passed(self) -> bool:
        """Whether it counts as kept."""
        return self.verdict is Verdict.PASS

    @property
    def broken(self) -> bool:
        """Whether that fails the run: a MUST was broken, or a waiver of any level tells what isn't so."""
        return self.verdict is Verdict.FAIL and (self.level == "MUST" or self.waiver is not None)


@dataclass(slots=True)
class CheckResult:
    """How one check went.

    Attributes:
        name: Its name.
        runs: How many histories it tried.
        seconds: How long it took.
        note: What it has to say about its scope, such as how far it got within its time.
    """

    name: str
    runs: int
    seconds: float
    note: str = ""


@dataclass(slots=True)
class Result:
    """What one run of the kit found about one backend.

    Attributes:
        backend: The backend's name.
        target: ``edge``, ``ready``, ``engine``, ``node`` or ``bridge``.
        suite: Version of the rules.
        profiles: The profiles that were run.
        claims: Capabilities that the backend claims.
        could_claim: Capabilities that it doesn't claim but was found to have.
        settings: How hard the kit looked (``pr``, ``nightly``, ``crosshair``).
        seed: Where the random choices started.
        started: When, ISO 8601 in UTC.
        seconds: How long it took.
        environment: Versions and platform.
        rules: What was found, in the order of the rules.
        checks: How each check went.
        notes: What else is to be told, such as an expired waiver.
        loads: What finds the backend again, such as ``mybackend.edges:Backend``; empty if it was given as an object.
    """

    backend: str
    target: str
    suite: str
    profiles: list[str]
    claims: list[str]
    could_claim: list[str]
    settings: str
    seed: int
    started: str
    seconds: float
    environment: dict[str, str]
    rules: list[RuleResult]
    checks: list[CheckResult] = field(default_factory=list[CheckResult])
    notes: list[str] = field(default_factory=list[str])
    loads: str = ""

    def of(self, rule: str) -> RuleResult:
        """Return what was found about one rule.

        Raises:
            KeyError: it wasn't part of the run.
        """
        for found in self.rules:
            if found.rule == rule:
                return found
        raise KeyError(rule)

    def count(self, verdict: Verdict, level: str | None = None) -> int:
        """Return how many rules (of a level) have that verdict."""
        return sum(found.verdict is verdict and level in (None, found.level) for found in self.rules)

    @property
    def exit_code(self) -> ExitCode:
        """`ExitCode.BROKEN` if a rule is `RuleResult.broken`.

        `ExitCode.INCONCLUSIVE` if a MUST is vacuous, inconclusive or in error, or nothing was judged.
        """
        musts = [found.verdict for found in self.rules if found.level == "MUST"]
        if any(found.broken for found in self.rules):
            return ExitCode.BROKEN
        if {Verdict.ERROR, Verdict.VACUOUS, Verdict.INCONCLUSIVE} & set(musts):
            return ExitCode.INCONCLUSIVE
        judged = {Verdict.PASS, Verdict.WAIVED} & {found.verdict for found in self.rules}
        return ExitCode.PASSED if judged else ExitCode.INCONCLUSIVE

    def to_json(self) -> dict[str, Any]:
        """Return the form of ``result.json``."""
        data = asdict(self)
        data["seconds"] = round(self.seconds, 3)
        for check in data["checks"]:
            check["seconds"] = round(check["seconds"], 3)
        for ours, told in zip(self.rules, data["rules"], strict=True):
            told["verdict"] = str(ours.verdict)
            for mine, failure in zip(ours.failures, told["failures"], strict=True):
                failure["trace"] = mine.trace.to_json()
        return {"format": RESULT_FORMAT, **data, "exit_code": int(self.exit_code)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Result:
        """Read that form.

        Raises:
            ValueError: it is none, or a newer one.
        """
        if data.get("format") != RESULT_FORMAT:
            raise ValueError(f"a result of format {data.get('format')!r}; this version reads {RESULT_FORMAT}")
        fields = {name: data[name] for name in cls.__dataclass_fields__}
        fields["rules"] = [_rule_result(entry) for entry in data["rules"]]
        fields["checks"] = [CheckResult(**entry) for entry in data["checks"]]
        return cls(**fields)


def _rule_result(entry: Mapping[str, Any]) -> RuleResult:
    fields = dict(entry)
    fields["verdict"] = Verdict(entry["verdict"])
    fields["situations"] = [Situation(**each) for each in entry["situations"]]
    fields["failures"] = [
        Failure(each["rule"], dict(each["facts"]), Trace.from_json(each["trace"]), each["check"])
        for each in entry["failures"]
    ]
    return RuleResult(**fields)


def summary(result: Result) -> str:
    """Return the result in one line, such as ``core 20/20 MUST, 1 SHOULD broken``; never a percentage."""
    musts = [found for found in result.rules if found.level == "MUST"]
    counted = [found for found in musts if found.verdict not in (Verdict.NOT_APPLICABLE, Verdict.UNTESTABLE)]
    kept = sum(found.passed for found in counted)
    line = f"{'+'.join(result.profiles)} {kept}/{len(counted)} MUST"
    for verdict, word in (
        (Verdict.WAIVED, "waived"),
        (Verdict.VACUOUS, "vacuous"),
        (Verdict.INCONCLUSIVE, "inconclusive"),
        (Verdict.ERROR, "in error"),
    ):
        n = sum(found.verdict is verdict for found in result.rules)
        line += f", {n} {word}" if n else ""
    broken = sum(found.verdict is Verdict.FAIL and found.level != "MUST" for found in result.rules)
    return line + (f", {broken} SHOULD broken" if broken else "")


def shortfall(situations: Sequence[Situation]) -> list[Situation]:
    """Return the situations that didn't occur often enough."""
    return [each for each in situations if each.seen < each.needed]
