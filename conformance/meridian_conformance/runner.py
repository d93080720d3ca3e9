"""From a backend to a result: run the checks of some profiles, shrink what they found, and give each rule its verdict."""

from __future__ import annotations

import platform
import random
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from meridian_conformance import __version__, backends, checks, rules
from meridian_conformance.checks import EFFORTS, Effort, Examination
from meridian_conformance.contract import Capability, EdgeSpec, claims, name_of
from meridian_conformance.ready.contract import QueueSpec
from meridian_conformance.replay import breaks, replay, shrink
from meridian_conformance.require import judging
from meridian_conformance.verdicts import (
    CheckResult,
    Failure,
    Result,
    RuleResult,
    Situation,
    Verdict,
    shortfall,
)

if TYPE_CHECKING:
    from meridian_conformance.failures import Trace
    from meridian_conformance.rules import Rule
    from meridian_conformance.waivers import Waiver

PROBED: Final = {
    "edge": (
        Capability.ASYNC,
        Capability.THREADS,
        Capability.BYTES_LIMIT,
        Capability.AGE_LIMIT,
        Capability.CONTROL,
        Capability.DURABLE,
        Capability.TORN,
    ),
    "ready": (Capability.BAND_CHANGE,),
    "engine": (Capability.ASYNC, Capability.LIMITS),
    "node": (Capability.ROUTE, Capability.BATCH, Capability.THROTTLE),
}
"""Capabilities that a backend may have without claiming them, by target."""


def environment() -> dict[str, str]:
    """Return the versions and the platform that a result depends on."""
    told = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "meridian-conformance": __version__,
    }
    for name in ("meridian-runtime", "hypothesis"):
        try:
            told[name] = version(name)
        except PackageNotFoundError:
            told[name] = "not installed"
    return told


def run(
    backend: Any,
    profiles: Sequence[str] = ("core",),
    *,
    target: str = "edge",
    effort: Effort | str = "pr",
    seed: int | None = None,
    waivers: Iterable[Waiver] = (),
    regressions: Iterable[Trace] = (),
    probe: bool = True,
    today: date | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Result:
    """Examine a backend.

    Args:
        backend: Who is examined.
        profiles: Which profiles; see `checks.profiles`.
        target: What the backend is for.
        effort: How hard to look, or its name.
        seed: Where random choices start; by default 0 for ``pr``, so that it finds the same each time, and drawn for others.
        waivers: Known deviations.
        regressions: Histories that are played first.
        probe: Whether to look for capabilities that aren't claimed.
        today: The day by which waivers expire.
        progress: Is told what is done next.

    Raises:
        UsageError: there is no such profile, or the claims make no sense.
    """
    how = EFFORTS[effort] if isinstance(effort, str) else effort
    all_checks = [each for each in checks.load_all().values() if each.target == target]
    known = checks.profiles(target)
    for name in profiles:
        if name not in known:
            raise backends.UsageError(
                f"there is no profile {name!r} for {target}; there are {', '.join(known)}"
            )
    if how.generator == "crosshair" and find_spec("hypothesis_crosshair_provider") is None:
        raise backends.UsageError("effort crosshair needs CrossHair: pip install hypothesis-crosshair")
    if seed is None:
        seed = random.SystemRandom().randrange(1 << 31) if how.random else 0
    try:
        claimed = claims(backend)
    except TypeError as error:
        raise backends.UsageError(str(error)) from error
    started, began = datetime.now(UTC), time.monotonic()
    exam = Examination(backend, claimed, how, seed)
    done: list[CheckResult] = []
    errors: dict[str, str] = {}
    with judging(exam.judge):
        _play_regressions(exam, regressions, target, progress)
        for each in all_checks:
            if each.profile in profiles and each.needs <= claimed:
                progress(each.name)
                done.append(_run_check(exam, each, errors))
    disputes = _settle(exam, target, progress)
    judged = [
        rule
        for rule in rules.load().values()
        if rule.target == target and (rule.profile in profiles or rule.id in exam.failures)
    ]
    found = [_verdict(rule, exam, claimed, errors, disputes) for rule in judged]
    notes = _waive(found, {waiver.rule: waiver for waiver in waivers}, today or datetime.now(UTC).date())
    could = _probe(backend, claimed, how, seed, target, progress) if probe else []
    return Result(
        backend=name_of(backend),
        target=target,
        suite=rules.suite_version(),
        profiles=list(profiles),
        claims=sorted(claimed),
        could_claim=could,
        settings=how.name,
        seed=seed,
        started=started.isoformat(timespec="seconds"),
        seconds=time.monotonic() - began,
        environment=environment(),
        rules=found,
        checks=done,
        notes=notes,
    )


def _run_check(exam: Examination, each: checks.Check, errors: dict[str, str]) -> CheckResult:
    exam.begin(each.name)
    began = time.monotonic()
    try:
        each.run(exam)
    except Exception as error:  # noqa: BLE001 - a check that fails by itself judges nothing
        said = f"{each.name} failed with {_where(error)}"
        for id in each.judges:
            errors.setdefault(id, said)
    note = exam.note or ("stopped when its time was up" if exam.late else "")
    return CheckResult(each.name, exam.runs, time.monotonic() - began, note)


def _where(error: BaseException) -> str:
    """Say what was raised and where, without its text, which may hold anything."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return type(error).__name__
    code = last.tb_frame.f_code
    return f"{type(error).__name__} at {code.co_filename.rpartition('/')[2]}:{last.tb_lineno} in {code.co_qualname}"


def _play_regressions(
    exam: Examination, regressions: Iterable[Trace], target: str, progress: Callable[[str], None]
) -> None:
    exam.begin("regressions")
    for trace in regressions:
        if trace.target != target or (
            target == "edge" and not EdgeSpec.from_json(trace.spec).needs() <= exam.claims
        ):
            continue
        if not rules.find(trace.rule).needs <= exam.claims:
            continue
        progress(f"regression of {trace.rule}")
        violations, steps = replay(exam.backend, trace)
        for violation in violations:
            exam.failures.setdefault(
                violation.rule,
                Failure(
                    violation.rule,
                    {name: repr(value) for name, value in violation.facts.items()},
                    replace(trace, rule=violation.rule, steps=steps),
                    "regressions",
                ),
            )


def _settle(exam: Examination, target: str, progress: Callable[[str], None]) -> dict[str, str]:
    """Shrink what was found, and ask the reference about it; return the rules about which the kit contradicts itself."""
    disputes: dict[str, str] = {}
    told = environment()
    ours = backends.REFERENCES.get(target)
    reference = None if ours is None else backends.load("python", target)
    for id, failure in exam.failures.items():
        progress(f"shrinking {id}")
        failure.trace = replace(shrink(exam.backend, failure.trace), environment=told)
        if reference is None or name_of(reference) == name_of(exam.backend):
            continue
        if _reference_breaks(reference, failure.trace):
            disputes[id] = (
                "spec dispute: the kit's model and Meridian's own reference disagree about this history; "
                "please report it"
            )
    return disputes


def _reference_breaks(reference: Any, trace: Trace) -> bool:
    try:
        return breaks(reference, trace)
    except Exception:  # noqa: BLE001 - it can't play that, for want of a capability
        return False


def _verdict(
    rule: Rule, exam: Examination, claimed: frozenset[str], errors: dict[str, str], disputes: dict[str, str]
) -> RuleResult:
    suite = rules.suite_version()
    found = RuleResult(
        rule.id, rule.level_in(suite), rule.profile, Verdict.PASS, binds=rule.binds_after(suite)
    )
    if not rule.testable:
        found.verdict, found.reason = Verdict.UNTESTABLE, rule.reason
        return found
    missing = sorted(rule.needs - claimed)
    if missing:
        found.verdict, found.reason = Verdict.NOT_APPLICABLE, f"needs {', '.join(missing)}"
        return found
    counted = exam.judge.of(rule.id)
    found.situations = [Situation(name, counted.get(name, 0), n) for name, n in rule.situations.items()]
    failure = exam.failures.get(rule.id)
    if failure is not None:
        found.verdict, found.failures = Verdict.FAIL, [failure]
        if rule.id in disputes:
            found.verdict, found.reason = Verdict.ERROR, disputes[rule.id]
    elif rule.id in errors:
        found.verdict, found.reason = Verdict.ERROR, errors[rule.id]
    elif rule.id in exam.undecided:
        found.verdict, found.reason = Verdict.INCONCLUSIVE, exam.undecided[rule.id]
    elif short := shortfall(found.situations):
        found.verdict = Verdict.VACUOUS
        found.reason = ", ".join(
            f"{each.name!r} occurred {each.seen} times of {each.needed}" for each in short
        )
    return found


def _waive(found: Sequence[RuleResult], waivers: dict[str, Waiver], today: date) -> list[str]:
    """Apply waivers; return what is to be said about those that have no effect."""
    for each in found:
        waiver = waivers.pop(each.rule, None)
        if waiver is None:
            continue
        each.waiver = waiver.to_json()
        if each.verdict is Verdict.FAIL:
            if waiver.expired(today):
                each.reason = f"its waiver expired on {waiver.expires}"
            else:
                each.verdict, each.reason = Verdict.WAIVED, waiver.reason
        elif each.verdict is Verdict.PASS:
            each.verdict, each.reason = Verdict.FAIL, "it is waived, and yet it holds: remove the waiver"
    return [f"the waiver of {rule} has no effect: that rule was not judged" for rule in waivers]


def _probe(
    backend: Any,
    claimed: frozenset[str],
    effort: Effort,
    seed: int,
    target: str,
    progress: Callable[[str], None],
) -> list[str]:
    """Return the capabilities that the backend doesn't claim but seems to have."""
    less = replace(
        effort,
        examples=40,
        steps=20,
        scope=4,
        schedules=60,
        async_scope=3,
        rounds=min(effort.rounds, 30),
        seconds=4.0,
    )
    could: list[str] = []
    for capability in PROBED.get(target, ()):
        if capability in claimed:
            continue
        progress(f"probing {capability}")
        if _has(backend, target, capability, claimed, less, seed):
            could.append(str(capability))
    return could


def _has(
    backend: Any, target: str, capability: Capability, claimed: frozenset[str], effort: Effort, seed: int
) -> bool:
    wanted = [
        rule
        for rule in rules.load().values()
        if rule.target == target and capability in rule.needs and rule.testable
    ]
    asked = {name for rule in wanted if rule.needs <= claimed | {capability} for name in rule.tests}
    if not asked or not _looks_like(backend, target, capability):
        return False
    exam = Examination(backend, claimed | {capability}, effort, seed)
    try:
        with judging(exam.judge):
            for name in sorted(asked):
                exam.begin(name)
                checks.CHECKS[name].run(exam)
    except Exception:  # noqa: BLE001 - then it hasn't
        return False
    ids = {rule.id for rule in wanted}
    return not ids & exam.failures.keys() and all(
        _occurred(rule, exam) for rule in wanted if rule.binding and rule.needs <= claimed | {capability}
    )


def _occurred(rule: Rule, exam: Examination) -> bool:
    """Say whether a probe tried a rule: often enough where it takes luck to break it, at all where it doesn't."""
    if rule.kind == "stochastic":
        return exam.judge.often_enough(rule)
    return bool(exam.judge.of(rule.id))


def _looks_like(backend: Any, target: str, capability: Capability) -> bool:
    """Say whether the methods are there that the capability needs; of engines and nodes that shows when it is tried."""
    if target in ("engine", "node"):
        return True
    needed: dict[str, tuple[Collection[str], Collection[str]]] = {
        Capability.ASYNC: ((), ("put_wait", "get_wait")),
        Capability.CONTROL: ((), ("put_control",)),
        Capability.DURABLE: (("crash", "reopen"), ()),
        Capability.TORN: (("crash_in_put", "reopen"), ()),
        Capability.BAND_CHANGE: ((), ("set_band",)),
    }
    of_backend, of_opened = needed.get(capability, ((), ()))
    if not all(callable(getattr(backend, name, None)) for name in of_backend):
        return False
    try:
        opened = backend.open(QueueSpec() if target == "ready" else EdgeSpec(1))
    except Exception:  # noqa: BLE001 - then it hasn't
        return False
    return all(callable(getattr(opened, name, None)) for name in of_opened)
