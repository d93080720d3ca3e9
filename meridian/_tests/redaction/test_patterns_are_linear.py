"""No text can make a detector slow: every pattern takes a bounded number of steps at each place of a text."""

import random
import re
import sys
from types import FrameType
from typing import Any

import pytest

from meridian._tests.redaction.canaries import corpus
from meridian._tests.redaction.regex_steps import Machine, Superlinear, cost, parse
from meridian.redaction import Policy, Redactor
from meridian.redaction.patterns import SOURCES

MOST_STEPS = 2_500
"""At one place, the tail aside; most for what is assigned, where words are counted that exclude each other."""

# Texts that begin to match again and again, and then don't.
BAIT = {
    "aws_key": "AKIA" + "A" * 15 + "!",
    "github_token": "ghp_" + "a" * 19 + "!",
    "slack_token": "hooks.slack.com/services/",
    "stripe_key": "sk_live_sk_live_",
    "google_key": "AIzaAIza!",
    "model_key": "sk-sk-sk-!",
    "vendor_token": "npm_npm_!",
    "jwt": "eyJ.eyJ.!",
    "bearer": "bearer    token : ",
    "basic": "basic   basic   ",
    "authorization": "authorization : '",
    "assigned": "password '' : secret",
    "option": "--a-b-c-pass  ",
    "unquoted": "a,",
    "authority": "://a://",
    "email": "a" * 127 + "@" + "b-" * 31 + ".",
    "phone_international": "+1 (2) 3 - 4 . 5 + ",
    "phone_american": "(123) 123-12 ",
    "phone_national": " (0123) - 45 / 67 . 89 x",
    "digits": "1 2-3 4-5 6-7 8-",
    "iban": "DE89 DE89-",
    "ipv4": "1.2.3.4.5.6.",
    "ipv6": "1:2:3::g",
    "date": "1.2.3.4",
    "digit": "a",
    "token": "a" * 19 + "!",
    "base64": "a" * 11 + "=!",
    "hex": "a" * 13 + "g",
    "escape": "%a\\u12\\x1&#12",
    "word": "a'b'",
    "blank_escape": "\\" * 40,
    "uuid": "12345678-1234-1234-1234-",
    "timestamp": "2026-11-29T14:05:",
    "number": "123.456.",
}


def test_every_pattern_is_baited():
    assert set(BAIT) == set(SOURCES)


@pytest.mark.req("X2")
@pytest.mark.parametrize("name", SOURCES)
def test_a_pattern_takes_a_bounded_number_of_steps_at_each_place(name: str):
    assert cost(parse(SOURCES[name])) <= MOST_STEPS


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+b", "(a|aa)+b", "a*b", "a*+b", "(?:a*+)*+", "(?:a?){0,30}b", "(?:a|b|ab){0,99}+c", ".*a.*b"],
)
def test_the_bound_refuses_what_grows_faster(pattern: str):
    with pytest.raises(Superlinear):
        cost(parse(pattern))


@pytest.mark.parametrize("name", SOURCES)
def test_steps_grow_no_faster_than_the_text(name: str):
    steps = []
    for copies in (10, 20, 40):
        text = BAIT[name] * copies
        machine = Machine(SOURCES[name])
        machine.finditer(text)
        steps.append(machine.steps)
    # Twice the text, twice the steps; a tenth for the ends.
    assert steps[1] <= 2.2 * steps[0]
    assert steps[2] <= 2.2 * steps[1]


def opcodes(text: str) -> int:
    """Instructions of Python that redacting a text takes; what C functions do on the way counts as one each."""
    one, count = Redactor(Policy()), 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    one.document(text)  # what is compiled and imported at first use
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        one.document(text)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("name", [*SOURCES, "private_key", "groups"])
def test_work_around_the_patterns_grows_no_faster_than_the_text_either(name: str):
    bait = {"private_key": "-----BEGIN PRIVATE KEY----- ", "groups": "4111 1111 "}.get(name) or BAIT[name]
    # The more begins to match, the more there is to do; what is lost by chance in a short text is a quarter.
    counts = [opcodes(bait * copies) for copies in (10, 20, 40)]
    assert counts[1] <= 2.25 * counts[0]
    assert counts[2] <= 2.25 * counts[1]


def test_the_count_shows_what_grows_faster():
    steps = []
    for size in (20, 40):
        machine = Machine("[a-z]*[0-9]")
        machine.finditer("a" * size)
        steps.append(machine.steps)
    assert steps[1] > 3 * steps[0]


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "iban"])
def test_the_machine_that_counts_finds_what_re_finds(name: str):
    rng = random.Random(5)
    texts = [canary.text[:60] for canary in corpus(38)]
    texts += ["".join(rng.choice(BAIT[name] + "aA1 @:./-") for _ in range(40)) for _ in range(10)]
    texts += [BAIT[name] * 2]
    for text in texts:
        assert Machine(SOURCES[name]).finditer(text) == [
            found.span() for found in re.finditer(SOURCES[name], text)
        ]
