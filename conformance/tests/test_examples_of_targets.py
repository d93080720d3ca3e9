"""The examples of the guides: a ready queue, an engine, nodes, and an edge backend on a real Redis, which keep what they promise."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from meridian_conformance import backends, cli, rules, runner
from meridian_conformance.checks import EFFORTS
from meridian_conformance.contract import COALESCE, EMPTY, EdgeSpec, claims
from meridian_conformance.verdicts import ExitCode, Verdict

pytestmark = pytest.mark.req("X5")

EXAMPLES = Path(__file__).parent.parent / "examples"
REDIS = shutil.which("redis-server")
SECONDS_TO_START = 10


@pytest.fixture(autouse=True)
def examples(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield
    for name in ("ready_queue", "engine", "node", "redis_backend"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def redis_url():
    """Start a Redis of our own, on a socket in a folder of its own."""
    missing = [
        name for name, there in (("redis-server", REDIS), ("the redis client", _has_client())) if not there
    ]
    if missing:
        reason = f"{' and '.join(missing)}: not installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="redis") as folder:  # short: a socket's path has 108 bytes
        socket = Path(folder) / "redis.sock"
        args = [
            "--port",
            "0",
            "--unixsocket",
            str(socket),
            "--dir",
            folder,
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        server = subprocess.Popen([REDIS, *args], stdout=subprocess.DEVNULL)
        try:
            ends = time.monotonic() + SECONDS_TO_START
            while not socket.exists():
                assert server.poll() is None, "redis-server ended at once"
                assert time.monotonic() < ends, "redis-server did not start"
                time.sleep(0.01)  # another process, so there is no other way to find out
            yield f"unix://{socket}"
        finally:
            server.terminate()
            server.wait(SECONDS_TO_START)


def _has_client():
    return importlib.util.find_spec("redis") is not None


@pytest.fixture
def redis_backend(redis_url, monkeypatch):
    monkeypatch.setenv("MERIDIAN_REDIS_URL", redis_url)
    return backends.load("redis_backend:Backend")


# ---- the other targets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["ready", "engine", "node"])
def test_the_example_of_the_guide_keeps_every_rule(target):
    example = backends.load("ready_queue" if target == "ready" else target, target)
    result = runner.run(example, target=target)
    claimed = {rule.id for rule in rules.load().values() if rule.needs <= claims(example)}
    assert {found.verdict for found in result.rules if found.rule in claimed} == {Verdict.PASS}
    assert {found.verdict for found in result.rules if found.rule not in claimed} <= {Verdict.NOT_APPLICABLE}
    assert result.could_claim == []
    assert result.exit_code is ExitCode.PASSED


# ---- Redis ---------------------------------------------------------------------------------------------------------------


@pytest.mark.req("M2", "V3")
def test_the_redis_backend_keeps_the_core_profile(redis_backend):
    quick = replace(EFFORTS["pr"], seconds=8.0, examples=60, scope=5)
    result = runner.run(redis_backend, ["core"], effort=quick, probe=False)
    verdicts = {found.rule: found.verdict for found in result.rules}
    unclaimed = {"EDGE-108", "EDGE-115", "EDGE-116"}
    assert {rule for rule, verdict in verdicts.items() if verdict is Verdict.NOT_APPLICABLE} == unclaimed
    assert {verdict for rule, verdict in verdicts.items() if rule not in unclaimed} == {Verdict.PASS}


def test_the_redis_backend_keeps_the_threads_profile(redis_backend):
    quick = replace(EFFORTS["pr"], seconds=8.0)
    result = runner.run(redis_backend, ["threads"], effort=quick, probe=False)
    assert {found.rule: found.verdict for found in result.rules} == {"EDGE-140": Verdict.PASS}


def test_nothing_stays_in_redis_when_the_kit_is_done_with_an_edge(redis_backend):
    edge = redis_backend.open(EdgeSpec(2))
    edge.put("a")
    assert redis_backend.client.keys("meridian:*")
    redis_backend.discard(edge)
    assert redis_backend.client.keys("meridian:*") == []


def test_a_merge_that_was_overtaken_is_done_again_with_the_item_that_is_the_newest_then(redis_backend):
    calls = []

    def watch(old, new):
        calls.append((old, new))
        if len(calls) == 1:  # meanwhile another process takes the item and puts one of its own
            assert other.get() == "old"
            assert other.put("newer") == "OK"

    edge = redis_backend.open(EdgeSpec(1, "coalesce", "collect", watch=watch))
    other = redis_backend.open(EdgeSpec(1, "coalesce", "collect"))
    other.keys = edge.keys
    edge.put("old")
    assert edge.put("mine") == "COALESCED"
    assert calls == [("old", "mine"), ("newer", "mine")]
    assert edge.get() == COALESCE["collect"]("newer", "mine")
    assert edge.get() is EMPTY
    assert edge.counters() == {"accepted": 3, "delivered": 2, "merged": 1, "lost": {}}
    redis_backend.discard(edge)


@pytest.mark.parametrize(
    "item", [None, (1, (2,)), b"\x00\xff", {1: (b"a",)}, [{"tuple": 1}], "", 0, 1.5, True]
)
def test_what_goes_into_redis_comes_out_as_it_was(redis_backend, item):
    edge = redis_backend.open(EdgeSpec(1))
    edge.put(item)
    got = edge.get()
    assert (got, type(got)) == (item, type(item))
    redis_backend.discard(edge)


@pytest.mark.req("X2")
def test_what_json_does_not_know_is_refused_without_a_word_of_it(redis_backend):
    edge = redis_backend.open(EdgeSpec(1))
    with pytest.raises(TypeError) as refused:
        edge.put({"secret", "other"})
    assert "secret" not in str(refused.value)
    assert edge.depth() == 0


# ---- the guides ----------------------------------------------------------------------------------------------------------

GUIDES = Path(__file__).parents[2] / "docs" / "how-to"


@pytest.mark.parametrize(
    ("guide", "example"),
    [
        ("edge-backend-on-redis.md", "redis_backend.py"),
        ("write-a-ready-queue.md", "ready_queue.py"),
        ("write-an-engine.md", "engine.py"),
        ("write-a-node.md", "node.py"),
    ],
)
def test_a_guide_shows_the_example_that_is_tested_and_commands_that_are_right(guide, example):
    page = (GUIDES / guide).read_text(encoding="utf-8")
    assert f'``` {{ .py title="{example}" }}\n--8<-- "conformance/examples/{example}"\n```' in page
    commands = re.findall(r"^meridian-conform (.+)$", page, re.MULTILINE)
    assert commands
    for command in commands:
        cli.parser().parse_args(shlex.split(command))
