import json
from dataclasses import replace
from pathlib import Path

import pytest

from meridian_conformance import failures, faults, replay, rules, runner
from meridian_conformance.checks import EFFORTS
from meridian_conformance.contract import EdgeSpec
from meridian_conformance.failures import Step, Trace
from meridian_conformance.reference import ReferenceBackend

pytestmark = pytest.mark.req("X5")

LONG = Trace(
    "EDGE-111",
    "edge",
    "2.0.0",
    EdgeSpec(3, "drop").to_json(),
    tuple(Step("put", ([i],)) if i % 5 else Step("get") for i in range(40)),
)

LITTLE = replace(
    EFFORTS["pr"], examples=30, steps=20, scope=4, schedules=60, async_scope=4, rounds=20, seconds=10.0
)


def test_a_history_shrinks_to_a_shortest_one_on_the_smallest_edge() -> None:
    backend = faults.load_all()["DropsTheOldest"]()
    shorter = replay.shrink(backend, LONG)
    assert shorter.spec["capacity"] == 1
    assert [(step.op, step.args, step.expected, step.got) for step in shorter.steps] == [
        ("put", (0,), "OK", "OK"),
        ("put", (1,), "DROPPED", "DROPPED"),
    ]
    assert replay.breaks(backend, shorter)
    assert not replay.breaks(ReferenceBackend(), shorter)


def test_a_history_that_breaks_nothing_stays_as_it_is() -> None:
    assert replay.shrink(ReferenceBackend(), LONG) == LONG


def test_a_failure_file_holds_the_agreed_fields_and_is_read_back(tmp_path: Path) -> None:
    trace = replace(LONG, seed=3, environment={"python": "3.11"})
    path = failures.write(tmp_path / "failures", trace)
    assert path.name == "EDGE-111.json"
    data = json.loads(path.read_text())
    assert {"format", "rule", "target", "suite", "spec", "steps", "schedule", "seed", "environment"} <= set(
        data
    )
    assert data["spec"] == {
        "capacity": 3,
        "policy": "drop",
        "coalesce": None,
        "max_bytes": None,
        "max_age_s": None,
    }
    assert data["steps"][1] == {"op": "put", "args": [[1]]}
    assert failures.read(path) == trace


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"format": 2}', '{"format": 1}', '{"format": 1, "rule": "EDGE-101"}']
)
def test_what_is_no_failure_file_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"not|format"):
        failures.read(path)


def test_a_history_that_nobody_can_play_is_refused() -> None:
    with pytest.raises(ValueError, match="can't play"):
        replay.replay(ReferenceBackend(), replace(LONG, player="harp"))


def test_regressions_are_played_first() -> None:
    backend = faults.load_all()["DropsTheOldest"]()
    result = runner.run(backend, ["threads"], regressions=[LONG], probe=False)
    assert result.of("EDGE-111").failures[0].check == "regressions"
    assert result.exit_code == 1
    assert runner.run(ReferenceBackend(), ["threads"], regressions=[LONG], probe=False).exit_code == 0


@pytest.mark.parametrize(
    "fault",
    [
        "AcceptsCapacityZero",
        "SharesItsStorage",
        "PayloadInRepr",
        "WakesOneOnClose",
        "ChecksAndThenAppends",
        "ReopensInAnotherOrder",
        "PublishesBeforeItWrites",
    ],
)
def test_every_kind_of_history_replays(fault: str) -> None:
    backend = faults.load_all()[fault]()
    result = runner.run(backend, [rules.find(backend.rule).profile], effort=LITTLE, probe=False)
    trace = result.of(backend.rule).failures[0].trace
    assert replay.breaks(backend, trace)
    assert not replay.breaks(
        type(backend).__mro__[1]() if "durable" in backend.capabilities else ReferenceBackend(), trace
    )
