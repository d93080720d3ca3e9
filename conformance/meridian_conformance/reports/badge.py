"""badge.json, in the form of a shields endpoint, and badge.svg. They name suite, profile and counts, never a percentage."""

from __future__ import annotations

import json
from typing import Final

from meridian_conformance.reports.markup import tag
from meridian_conformance.reports.words import counts, suite_name, tamed
from meridian_conformance.verdicts import ExitCode, Result

COLOURS: Final = {
    ExitCode.PASSED: ("brightgreen", "#3a7d1e"),
    ExitCode.BROKEN: ("red", "#b3261e"),
    ExitCode.INCONCLUSIVE: ("yellow", "#8a6100"),
}
"""By exit code: the name that shields has, and one that white text can be read on."""


def dumps(result: Result) -> str:
    """Return the text of ``badge.json``."""
    badge = {
        "schemaVersion": 1,
        "label": tamed(suite_name(result)),
        "message": tamed(counts(result)),
        "color": COLOURS[result.exit_code][0],
        "isError": result.exit_code is ExitCode.BROKEN,
    }
    return json.dumps(badge, indent=2, ensure_ascii=False) + "\n"


def svg(result: Result) -> str:
    """Return the text of ``badge.svg``."""
    label, message = tamed(suite_name(result)), tamed(counts(result))
    left, right = _width(label), _width(message)
    said = f"{label} {message}"
    image = tag(
        "svg",
        tag("title", said),
        tag("clipPath", tag("rect", width=left + right, height=20, rx=3), id="round"),
        tag(
            "g",
            tag("rect", width=left, height=20, fill="#444"),
            tag("rect", x=left, width=right, height=20, fill=COLOURS[result.exit_code][1]),
            clip_path="url(#round)",
        ),
        tag(
            "g",
            tag("text", label, x=left / 2, y=14, textLength=left - 12),
            tag("text", message, x=left + right / 2, y=14, textLength=right - 12),
            fill="#fff",
            text_anchor="middle",
            font_family="Verdana,DejaVu Sans,sans-serif",
            font_size=11,
        ),
        xmlns="http://www.w3.org/2000/svg",
        width=left + right,
        height=20,
        role="img",
        aria_label=said,
    )
    return f"{image}\n"


def _width(said: str) -> int:
    """Return about how wide a text is at 11 px, with its margins; `textLength` makes it fit exactly."""
    narrow = sum(character in " .,/:;'|!ijlI1()" for character in said)
    return round(12 + 7 * (len(said) - narrow) + 4.2 * narrow)
