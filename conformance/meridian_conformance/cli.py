"""The command `meridian-conform`.

Exit codes: 0 every rule that was judged held, 1 a MUST was broken, 2 wrong usage, 3 inconclusive (vacuous, in error, or nothing
could be judged).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from meridian_conformance import __version__, failures, rules
from meridian_conformance.backends import GROUPS, UsageError
from meridian_conformance.verdicts import ExitCode

DESCRIPTION: Final = "Check that an edge, an engine, a node or a store keeps Meridian's contract."
EPILOG: Final = "Exit codes: 0 every rule held, 1 a MUST was broken, 2 wrong usage, 3 inconclusive."
BACKEND_HELP: Final = "python (Meridian's own), module:attribute, or the name of an entry point"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code.

    Args:
        argv: The arguments after the command's name; those of the process if None.
    """
    options = parser().parse_args(argv)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # a backend that isn't installed is found where one works
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except UsageError as error:
        print(f"meridian-conform: {error}", file=sys.stderr)
        return ExitCode.USAGE
    except KeyboardInterrupt:
        print("meridian-conform: interrupted, so nothing was concluded", file=sys.stderr)
        return ExitCode.INCONCLUSIVE
    except BrokenPipeError:
        return ExitCode.INCONCLUSIVE


def parser() -> argparse.ArgumentParser:
    """Make the parser of arguments."""
    top = argparse.ArgumentParser(prog="meridian-conform", description=DESCRIPTION, epilog=EPILOG)
    top.add_argument("--version", action="version", version=f"meridian-conform {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help, description=help, epilog=EPILOG)
        made.set_defaults(command=run)
        made.add_argument("--json", action="store_true", help="one JSON object on stdout instead of text")
        return made

    run = command("run", _run, "judge a backend")
    run.add_argument("backend", help=BACKEND_HELP)
    run.add_argument(
        "--target", choices=sorted(GROUPS), default="edge", help="what the backend is for (edge)"
    )
    run.add_argument("--profile", default="core", help="profiles, separated by commas, or all (core)")
    run.add_argument("--effort", choices=_efforts(), default="pr", help="how hard to look (pr)")
    run.add_argument("--seed", type=int, help="where random choices start (0 for pr, else drawn)")
    run.add_argument(
        "--out", type=Path, metavar="DIR", help="write result.json, junit.xml, report.html, badges, failures"
    )
    run.add_argument(
        "--waivers", type=Path, metavar="FILE", help="meridian-conformance.toml with known deviations"
    )
    run.add_argument(
        "--suite-level", metavar="LEVEL", help="judge only rules that suite LEVEL (such as 2.0) had"
    )
    run.add_argument("--regressions", type=Path, metavar="DIR", help="failure files that are played first")
    run.add_argument(
        "--no-probe", action="store_true", help="don't look for capabilities that aren't claimed"
    )

    replay = command("replay", _replay, "play a failure file again")
    replay.add_argument("file", type=Path)
    replay.add_argument("--backend", action="append", required=True, help=f"{BACKEND_HELP}; may be repeated")
    replay.add_argument("--shrink", action="store_true", help="also look for a smaller history")

    diff = command("diff", _diff, "play the same histories on several backends, until they differ")
    diff.add_argument("backends", nargs="+", help=BACKEND_HELP)
    diff.add_argument("--target", choices=sorted(GROUPS), default="edge", help="what they are for (edge)")
    diff.add_argument("--examples", type=int, default=500, help="how many histories (500)")
    diff.add_argument("--seed", type=int, default=0)
    diff.add_argument(
        "--exact",
        action="store_true",
        help="engines: compare slice by slice, and not only what the rules promise (edges and ready queues: always exact; nodes: what they gave whenever they are at rest)",
    )

    selftest = command(
        "selftest", _selftest, "prove that the kit can fail: every seeded fault is caught by its own rule"
    )
    selftest.add_argument("--seeds", type=int, default=5, help="under how many seeds (5)")
    selftest.add_argument("--fault", action="append", help="only this one; may be repeated")
    selftest.add_argument(
        "--without", action="append", default=[], metavar="RULE", help="don't judge this rule"
    )

    explain = command("explain", _explain, "tell what a rule means and what usually breaks it")
    explain.add_argument("rule", help="such as EDGE-103")

    command("rules", _rules, "list all rules")

    matrix = command("matrix", _matrix, "set several results side by side")
    matrix.add_argument("results", nargs="+", type=Path, help="result.json files")
    matrix.add_argument("--html", type=Path, metavar="FILE", help="also write a page")
    return top


def _efforts() -> list[str]:
    from meridian_conformance.checks import EFFORTS

    return list(EFFORTS)


def _say_json(data: Any) -> None:
    print(json.dumps(data, indent=2))


# ---- run -------------------------------------------------------------------------------------------------------------


def _run(options: argparse.Namespace) -> int:
    from meridian_conformance import backends, checks, levels, runner, waivers

    if options.suite_level:
        levels.parse(options.suite_level)
    backend = backends.load(options.backend, options.target)
    known = checks.profiles(options.target)
    names = (
        known
        if options.profile == "all"
        else [name.strip() for name in options.profile.split(",") if name.strip()]
    )
    progress = _Progress(options.json)
    result = runner.run(
        backend,
        names,
        target=options.target,
        effort=options.effort,
        seed=options.seed,
        waivers=waivers.read(options.waivers) if options.waivers else (),
        regressions=_traces(options.regressions) if options.regressions else (),
        probe=not options.no_probe,
        progress=progress,
    )
    progress.end()
    result.loads = options.backend
    if options.suite_level:
        result = levels.at_level(result, options.suite_level)
    if options.out:
        from meridian_conformance import reports

        try:
            reports.write(result, options.out)
        except OSError as error:
            raise UsageError(f"can't write to {options.out}: {error.strerror}") from error
    if options.json:
        _say_json(result.to_json())
    else:
        from meridian_conformance.reports import console

        print(console.table(result, colour=console.wants_colour(sys.stdout), folder=options.out))
        if options.out:
            print(f"\n{options.out / 'report.html'}")
    return result.exit_code


def _traces(folder: Path) -> list[failures.Trace]:
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a directory of failure files")
    return [_trace(path) for path in sorted(folder.glob("*.json"))]


def _trace(path: Path) -> failures.Trace:
    try:
        return failures.read(path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error


class _Progress:
    """One line on stderr that says what is done now; nothing where nobody looks."""

    def __init__(self, quiet: bool) -> None:
        self.shown = sys.stderr.isatty() and not quiet

    def __call__(self, what: str) -> None:
        if self.shown:
            print(f"\r\x1b[K{what} …", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


# ---- replay and diff -------------------------------------------------------------------------------------------------


def _replay(options: argparse.Namespace) -> int:
    from meridian_conformance import backends, replay

    trace = _trace(options.file)
    told: list[dict[str, Any]] = []
    broken = False
    for name in options.backend:
        backend = backends.load(name, trace.target)
        try:
            violations, steps = replay.replay(backend, trace)
        except ValueError as error:
            raise UsageError(str(error)) from error
        ids = [violation.rule for violation in violations]
        broken = broken or bool(ids)
        shorter = replay.shrink(backend, trace) if options.shrink and trace.rule in ids else None
        told.append(
            {
                "backend": name,
                "broken": {
                    violation.rule: {fact: str(value) for fact, value in violation.facts.items()}
                    for violation in violations
                },
                "trace": (shorter or trace.with_steps(steps)).to_json(),
            }
        )
    if options.json:
        _say_json({"rule": trace.rule, "played": told})
    else:
        for each in told:
            print(
                f"{each['backend']}: {'broke ' + ', '.join(each['broken']) if each['broken'] else 'kept every rule'}"
            )
            for step in each["trace"]["steps"]:
                args = ", ".join(map(str, step["args"]))
                differs = "expected" in step and step.get("got") != step["expected"]
                print(
                    f"  {step['op']}({args}) -> {step.get('got', '')}"
                    + (f"   expected {step['expected']}" if differs else "")
                )
            for id, facts in each["broken"].items():
                print(f"  {id}: {rules.find(id).sentence}")
                for fact, value in facts.items():
                    print(f"    {fact.replace('_', ' ')}: {value}")
    return ExitCode.BROKEN if broken else ExitCode.PASSED


def _diff(options: argparse.Namespace) -> int:
    from meridian_conformance import backends, differ
    from meridian_conformance.engine import differ as engine_differ
    from meridian_conformance.node import differ as node_differ
    from meridian_conformance.ready import differ as ready_differ

    named = {name: backends.load(name, options.target) for name in options.backends}
    if options.target == "engine":
        found = engine_differ.diff(named, examples=options.examples, seed=options.seed, exact=options.exact)
    elif options.target == "ready":
        found = ready_differ.diff(named, examples=options.examples, seed=options.seed)
    elif options.target == "node":
        found = node_differ.diff(named, examples=options.examples, seed=options.seed)
    else:
        found = differ.diff(named, examples=options.examples, seed=options.seed)
    if options.json:
        _say_json(found.to_json())
    else:
        print(found.text())
    return ExitCode.BROKEN if found.differs else ExitCode.PASSED


# ---- selftest --------------------------------------------------------------------------------------------------------


def _selftest(options: argparse.Namespace) -> int:
    from meridian_conformance import selftest

    progress = _Progress(options.json)
    for id in options.without:
        _known_rule(id)
    report = selftest.run(seeds=options.seeds, only=options.fault, without=options.without, progress=progress)
    progress.end()
    if options.json:
        _say_json(report.to_json())
    else:
        print(report.text())
    return ExitCode.PASSED if report.green else ExitCode.BROKEN


# ---- rules -----------------------------------------------------------------------------------------------------------


def _known_rule(id: str) -> rules.Rule:
    try:
        return rules.find(id)
    except KeyError as error:
        raise UsageError(error.args[0]) from error


def _as_json(rule: rules.Rule) -> dict[str, Any]:
    return {
        name: sorted(value) if isinstance(value, frozenset) else value
        for name in rules.Rule.__dataclass_fields__
        if (value := getattr(rule, name)) != ""
    }


def _explain(options: argparse.Namespace) -> int:
    rule = _known_rule(options.rule.upper())
    if options.json:
        _say_json(_as_json(rule))
        return ExitCode.PASSED
    suite = rules.suite_version()
    later = rule.binds_after(suite)
    print(f"{rule.id}  {rule.level_in(suite)}  ({rule.kind}, profile {rule.profile})")
    print(f"\n  {rule.sentence}\n\nWhy\n  {rule.intent}\n\nWhat usually breaks it")
    for cause in rule.causes:
        print(f"  - {cause}")
    if rule.needs:
        print(f"\nNeeds\n  {', '.join(sorted(rule.needs))}")
    if rule.reason:
        print(f"\nNot judged\n  {rule.reason}")
    else:
        print(f"\nJudged by\n  {', '.join(rule.tests)}\n\nProved by the faults\n  {', '.join(rule.faults)}")
        print("\nCounts when there were")
        for name, n in rule.situations.items():
            print(f"  {n} × {name}")
    if later:
        print(f"\nDoesn't bind yet\n  it will bind from suite {later}: then breaking it is a failure")
    binds = f" · binds from {rule.binds}" if rule.binds else ""
    print(f"\nRequirements {', '.join(rule.requirements)} · since {rule.since}{binds}")
    return ExitCode.PASSED


def _rules(options: argparse.Namespace) -> int:
    if options.json:
        _say_json(
            {"suite": rules.suite_version(), "rules": [_as_json(rule) for rule in rules.load().values()]}
        )
        return ExitCode.PASSED
    suite = rules.suite_version()
    for rule in rules.load().values():
        later = rule.binds_after(suite)
        print(
            f"{rule.id:11} {rule.level_in(suite):6} {rule.profile:8} {rule.sentence}"
            + (f" (will bind from {later})" if later else "")
        )
    return ExitCode.PASSED


# ---- matrix ----------------------------------------------------------------------------------------------------------


def _matrix(options: argparse.Namespace) -> int:
    from meridian_conformance.reports import console, matrix, result_file

    try:
        results = [result_file.load(path) for path in options.results]
        if options.html:
            options.html.write_text(matrix.html(results), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(str(error)) from error
    if options.json:
        _say_json(matrix.to_json(results))
    else:
        print(matrix.table(results, colour=console.wants_colour(sys.stdout)))
    return max(
        (result.exit_code for result in results if result.exit_code is ExitCode.BROKEN),
        default=ExitCode.PASSED,
    )


if __name__ == "__main__":
    raise SystemExit(main())
