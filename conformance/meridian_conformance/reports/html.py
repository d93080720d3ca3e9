"""report.html: one file for people. It needs no network and no script, and follows the reader's light or dark."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

from meridian_conformance import __version__
from meridian_conformance.reports.markup import Markup, join, link, page, tag, text
from meridian_conformance.reports.words import (
    MEANING,
    ORDER,
    call,
    causes,
    counts,
    exercised,
    headline,
    level,
    opened,
    replay_command,
    sentence,
    suite_name,
    word,
)
from meridian_conformance.verdicts import ExitCode, Failure, Result, RuleResult, Verdict

if TYPE_CHECKING:
    from meridian_conformance.failures import Step

_CLASS = {ExitCode.PASSED: "passed", ExitCode.BROKEN: "broken", ExitCode.INCONCLUSIVE: "inconclusive"}


def style() -> str:
    """Return the style sheet of the kit's pages."""
    return (files("meridian_conformance") / "reports" / "page.css").read_text(encoding="utf-8")


def dumps(result: Result) -> str:
    """Return the text of ``report.html``."""
    return page(
        f"{suite_name(result)}: {result.backend}",
        style(),
        tag("header", _head(result)),
        tag(
            "main",
            _attention(result),
            _rules(result),
            _claims(result),
            _waivers(result),
            _checks(result),
            _about(result),
        ),
        tag(
            "footer",
            f"Written by meridian-conform {__version__} · suite {result.suite} · the same for programs: ",
            tag("code", "result.json"),
        ),
    )


def _head(result: Result) -> Markup:
    tiles = [(result.count(verdict), verdict) for verdict in ORDER]
    return join(
        tag("p", text(suite_name(result)), class_="over"),
        tag("h1", text(result.backend)),
        tag(
            "p",
            tag("b", text(counts(result))),
            ". ",
            headline(result),
            class_=f"lead {_CLASS[result.exit_code]}",
        ),
        tag(
            "ul",
            *(
                tag("li", tag("b", str(n), class_=f"v-{verdict}"), word(verdict), title=MEANING[verdict])
                for n, verdict in tiles
                if n
            ),
            class_="tiles",
        ),
    )


def pill(verdict: Verdict) -> Markup:
    """Return a verdict as a coloured word."""
    return tag("span", word(verdict), class_=f"pill v-{verdict}", title=MEANING[verdict])


def _attention(result: Result) -> Markup | None:
    cards = [
        _card(result, found)
        for verdict in (Verdict.FAIL, Verdict.ERROR, Verdict.VACUOUS, Verdict.INCONCLUSIVE)
        for found in result.rules
        if found.verdict is verdict
    ]
    return join(tag("h2", "What wants attention"), *cards) if cards else None


def _card(result: Result, found: RuleResult) -> Markup:
    likely = causes(found.rule)
    return tag(
        "section",
        tag("h3", text(found.rule), " ", pill(found.verdict), " ", tag("span", level(found), class_="soft")),
        tag("p", text(sentence(found.rule))),
        tag("p", text(found.reason), class_="soft") if found.reason else None,
        _situations(found) if found.verdict is Verdict.VACUOUS else None,
        *(_failure(result, found, failure, n) for n, failure in enumerate(found.failures)),
        _list("What breaks it most often", likely) if found.failures else None,
        class_=f"card v-{found.verdict}",
        id=f"broken-{found.rule}",
    )


def _failure(result: Result, found: RuleResult, failure: Failure, n: int) -> Markup:
    trace = failure.trace
    body = join(
        tag("p", "Opened with ", text(opened(trace.spec)), "."),
        tag(
            "dl",
            *(
                join(tag("dt", text(name.replace("_", " "))), tag("dd", tag("code", text(value))))
                for name, value in failure.facts.items()
            ),
        )
        if failure.facts
        else None,
        _history(trace.steps) if trace.steps else None,
        tag("p", "Schedule: ", tag("code", text(", ".join(map(str, trace.schedule)))), class_="soft")
        if trace.schedule
        else None,
        tag("p", "See it again, without Hypothesis:") if n == 0 else None,
        tag("pre", tag("code", text(replay_command(result, found)))) if n == 0 else None,
        tag("p", "Found by ", tag("code", text(failure.check)), f", seed {trace.seed}.", class_="soft")
        if failure.check
        else None,
    )
    return body if n == 0 else tag("details", tag("summary", "Another way in which it broke"), body)


def _history(steps: Sequence[Step]) -> Markup:
    return tag(
        "div",
        tag(
            "table",
            tag(
                "thead",
                tag(
                    "tr", *(tag("th", name) for name in ("", "step", "what came of it", "what was expected"))
                ),
            ),
            tag("tbody", *(_step(number, step) for number, step in enumerate(steps, 1))),
            class_="steps",
        ),
        class_="wide",
    )


def _step(number: int, step: Step) -> Markup:
    differs = step.got is not None and step.expected is not None and step.got != step.expected
    return tag(
        "tr",
        tag("td", str(number)),
        tag("td", tag("code", text(call(step)))),
        tag("td", text(step.got or "")),
        tag("td", text(step.expected or "")),
        class_="differs" if differs else None,
    )


def _list(title: str, lines: Sequence[str]) -> Markup | None:
    if not lines:
        return None
    return tag("details", tag("summary", title), tag("ul", *(tag("li", text(line)) for line in lines)))


def _rules(result: Result) -> Markup:
    profiles = dict.fromkeys(found.profile for found in result.rules)
    return join(*(_profile(result, profile) for profile in profiles))


def _profile(result: Result, profile: str) -> Markup:
    heads = (
        ("rule", None),
        ("level", None),
        ("verdict", None),
        ("what it asks", None),
        ("exercised", "number"),
    )
    return join(
        tag("h2", "Profile ", text(profile)),
        tag(
            "div",
            tag(
                "table",
                tag("thead", tag("tr", *(tag("th", name, class_=kind) for name, kind in heads))),
                tag("tbody", *(_rule(found) for found in result.rules if found.profile == profile)),
            ),
            class_="wide",
        ),
    )


def _rule(found: RuleResult) -> Markup:
    attention = found.verdict in (Verdict.FAIL, Verdict.ERROR, Verdict.VACUOUS, Verdict.INCONCLUSIVE)
    name = tag("a", found.rule, href=f"#broken-{found.rule}") if attention else found.rule
    return tag(
        "tr",
        tag("td", name, class_="id"),
        tag("td", level(found)),
        tag("td", pill(found.verdict)),
        tag(
            "td",
            text(sentence(found.rule)),
            tag("div", text(found.reason), class_="soft") if found.reason else None,
            _situations(found),
        ),
        tag(
            "td",
            exercised(found),
            class_="number",
            title="how often its rarest situation occurred, of what is needed",
        ),
        id=f"rule-{found.rule}",
    )


def _situations(found: RuleResult) -> Markup | None:
    return _list(
        "how often it could have been broken",
        [f"{each.name}: {each.seen} of the {each.needed} that are needed" for each in found.situations],
    )


def _claims(result: Result) -> Markup:
    return join(
        tag("h2", "Capabilities"),
        tag(
            "dl",
            tag("dt", "claimed"),
            tag("dd", text(", ".join(result.claims)) if result.claims else "none"),
            *(
                [tag("dt", "could be claimed"), tag("dd", text(", ".join(result.could_claim)))]
                if result.could_claim
                else []
            ),
        ),
    )


def _waivers(result: Result) -> Markup | None:
    waived = [found for found in result.rules if found.waiver]
    if not waived:
        return None
    rows = (
        tag(
            "tr",
            tag("td", found.rule, class_="id"),
            tag("td", pill(found.verdict)),
            tag("td", text((found.waiver or {}).get("reason", ""))),
            tag("td", link((found.waiver or {}).get("issue", ""))),
            tag("td", text((found.waiver or {}).get("expires", ""))),
        )
        for found in waived
    )
    heads = ("rule", "verdict", "reason", "issue", "expires")
    return join(
        tag("h2", "Waivers"),
        tag(
            "div",
            tag("table", tag("thead", tag("tr", *(tag("th", name) for name in heads))), tag("tbody", *rows)),
            class_="wide",
        ),
    )


def _checks(result: Result) -> Markup | None:
    if not result.checks:
        return None
    rows = (
        tag(
            "tr",
            tag("td", tag("code", text(check.name))),
            tag("td", f"{check.runs:,}", class_="number"),
            tag("td", f"{check.seconds:.1f} s", class_="number"),
            tag("td", text(check.note)),
        )
        for check in result.checks
    )
    heads = (("check", None), ("histories", "number"), ("time", "number"), ("what it says", None))
    return join(
        tag("h2", "How hard the kit looked"),
        tag(
            "div",
            tag(
                "table",
                tag("thead", tag("tr", *(tag("th", name, class_=kind) for name, kind in heads))),
                tag("tbody", *rows),
            ),
            class_="wide",
        ),
    )


def _about(result: Result) -> Markup:
    told = {
        "target": result.target,
        "settings": result.settings,
        "seed": str(result.seed),
        "started": result.started,
        "took": f"{result.seconds:.1f} s",
        **result.environment,
    }
    return join(
        tag("h2", "This run"),
        tag("dl", *(join(tag("dt", text(name)), tag("dd", text(value))) for name, value in told.items())),
        tag("ul", *(tag("li", text(note)) for note in result.notes)) if result.notes else None,
    )
