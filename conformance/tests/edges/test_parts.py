"""The parts of the kit, each by itself."""

import threading
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from meridian.core.policies import Coalesce, block, drop, latest
from meridian_conformance import checks, machine, threads, waivers
from meridian_conformance.backends import UsageError, load
from meridian_conformance.contract import EMPTY, Capability, EdgeSpec, Nothing, claims, name_of, size_of
from meridian_conformance.faults import load_all
from meridian_conformance.model import Model, decide
from meridian_conformance.payloads import has_identity, payload, same, shown
from meridian_conformance.reference import ReferenceBackend
from meridian_conformance.require import Judge, RuleViolation, judging, require, seen

pytestmark = pytest.mark.req("X5")


@pytest.mark.req("V3", "L3")
def test_the_pure_decision_is_that_of_the_runtimes_policies() -> None:
    runtime = {
        "block": block(),
        "drop": drop(),
        "latest": latest(),
        "coalesce": Coalesce(lambda old, new: new),
    }
    for name, policy in runtime.items():
        for capacity in range(1, 12):
            for size in range(capacity + 1):
                assert decide(name, capacity, size) == policy.on_enqueue(capacity, size, None).name


def test_the_model_needs_nothing_of_the_runtime() -> None:
    import ast
    import inspect

    from meridian_conformance import model

    imported = {
        node.module
        for node in ast.walk(ast.parse(inspect.getsource(model)))
        if isinstance(node, ast.ImportFrom)
    }
    assert imported <= {
        "__future__",
        "collections",
        "collections.abc",
        "typing",
        "meridian_conformance.contract",
    }


def test_the_model_conserves_items() -> None:
    spec = EdgeSpec(2, "latest")
    model = Model(spec, spec.merge)
    assert [str(model.put(i)) for i in range(3)] == ["OK", "OK", "REPLACED"]
    assert (model.get(), model.get(), model.get()) == (1, 2, EMPTY)
    assert (model.accepted, model.delivered, dict(model.lost)) == (3, 2, {"replaced": 1})


# ---- Hypothesis ------------------------------------------------------------------------------------------------------

FIELDS = {
    "max_examples",
    "stateful_step_count",
    "derandomize",
    "database",
    "deadline",
    "verbosity",
    "phases",
    "suppress_health_check",
    "print_blob",
    "report_multiple_bugs",
    "backend",
}


def test_every_field_of_every_profile_is_set_by_ourselves(monkeypatch: pytest.MonkeyPatch) -> None:
    import hypothesis

    given: dict[str, Any] = {}
    original = hypothesis.settings

    def spy(**fields: Any) -> Any:
        given.update(fields)
        return original(**{**fields, "backend": "hypothesis"})

    monkeypatch.setattr(hypothesis, "settings", spy)
    for effort in checks.EFFORTS.values():
        given.clear()
        machine.settings_for(effort, ReferenceBackend())
        assert set(given) == FIELDS, effort.name
    assert set(original._default_fields if hasattr(original, "_default_fields") else FIELDS) <= FIELDS


def test_nightly_searches_anew_each_night_and_pr_does_not() -> None:
    assert list(checks.EFFORTS) == ["pr", "nightly", "crosshair"]
    nightly = machine.settings_for(checks.EFFORTS["nightly"], ReferenceBackend())
    assert checks.EFFORTS["nightly"].random
    assert not nightly.derandomize
    assert nightly.database is not None
    assert not checks.EFFORTS["pr"].random
    assert machine.settings_for(checks.EFFORTS["pr"], ReferenceBackend()).database is None
    assert checks.EFFORTS["crosshair"].generator == "crosshair"


def test_each_backend_has_a_database_of_its_own() -> None:
    lifo, fifo = load_all()["LastInFirstOut"](), ReferenceBackend()
    assert machine.database_of(lifo) != machine.database_of(fifo)
    assert machine.database_of(lifo).name == "fault_LastInFirstOut"


# ---- requirements and situations -------------------------------------------------------------------------------------


def test_require_names_the_rule_and_the_facts() -> None:
    require("EDGE-101", True, depth=1)
    with pytest.raises(RuleViolation, match="EDGE-101: depth: 3; capacity: 2") as raised:
        require("EDGE-101", False, depth=3, capacity=2)
    assert (raised.value.rule, raised.value.facts) == ("EDGE-101", {"depth": 3, "capacity": 2})


def test_a_muted_rule_lets_everything_pass_and_situations_are_counted_by_judge() -> None:
    seen("EDGE-101", "nobody listens")
    with judging(Judge(frozenset({"EDGE-101"}))) as judge:
        require("EDGE-101", False)
        seen("EDGE-101", "full", 2)
        seen("EDGE-101", "full")
    assert judge.of("EDGE-101") == {"full": 3}


# ---- payloads --------------------------------------------------------------------------------------------------------


def test_payloads_are_made_anew_and_in_all_forms() -> None:
    assert payload({"$tuple": [1, {"$bytes": [7, 2]}]}) == (1, b"\x07\x07")
    arg = [1, [2]]
    assert payload(arg) == arg
    assert payload(arg) is not arg
    assert payload(arg)[1] is not arg[1]


@pytest.mark.parametrize(
    ("one", "other"), [(1, True), (1, 1.0), ((1,), [1]), ({1: 2}, {"1": 2}), (b"", ""), ([1], [1, 2])]
)
def test_what_formats_mix_up_is_not_the_same(one: Any, other: Any) -> None:
    assert not same(one, other)
    assert same(one, one)


def test_what_has_identity_is_what_a_copy_can_be_told_from() -> None:
    assert all(map(has_identity, ([], {}, (1,))))
    assert not any(map(has_identity, (1, "", None, ())))
    assert shown(b"\x07\x07") == "2 bytes of 7"
    assert len(shown([0] * 500)) == 120
    assert (size_of(b"abc"), size_of("ab"), size_of([1])) == (3, 2, 8)


# ---- backends --------------------------------------------------------------------------------------------------------


def test_backends_are_found_by_name_module_and_attribute() -> None:
    assert load("python").name == "python"
    assert load("meridian_conformance.reference:ReferenceBackend").name == "python"
    assert name_of(object()) == "builtins:object"


@pytest.mark.parametrize("claimed", ["async", {"asink"}, 3])
def test_claims_that_make_no_sense_are_refused(claimed: Any) -> None:
    class Backend:
        capabilities = claimed

    with pytest.raises(TypeError, match=r"set of names|the kit knows"):
        claims(Backend())


def test_an_edge_spec_survives_its_json_and_knows_what_it_needs() -> None:
    spec = EdgeSpec(3, "coalesce", "collect", max_bytes=10, max_age_s=1.5)
    assert EdgeSpec.from_json(spec.to_json()) == spec
    assert spec.needs() == {Capability.BYTES_LIMIT, Capability.AGE_LIMIT}
    assert spec.merge(spec.merge(1, 2), 3) == ["merged", 1, 2, 3]
    assert repr(Nothing.EMPTY) == "EMPTY"


# ---- waivers ---------------------------------------------------------------------------------------------------------

GOOD = '[[waiver]]\nrule = "EDGE-121"\nreason = "our kernel queue"\nissue = "https://example.org/7"\nexpires = "2027-06-30"\n'


def test_a_waiver_is_read(tmp_path: Path) -> None:
    path = tmp_path / "meridian-conformance.toml"
    path.write_text(GOOD)
    (waiver,) = waivers.read(path)
    assert waiver == waivers.Waiver(
        "EDGE-121", "our kernel queue", "https://example.org/7", date(2027, 6, 30)
    )
    assert not waiver.expired(date(2027, 6, 30))
    assert waiver.expired(date(2027, 7, 1))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD + GOOD, "waived twice"),
        (GOOD.replace("EDGE-121", "EDGE-999"), "no rule EDGE-999"),
        (GOOD.replace("2027-06-30", "soon"), "a day such as"),
        (GOOD.replace("our kernel queue", " "), "can't be empty"),
        (GOOD.replace("issue", "ticket"), "it needs expires, issue, reason, rule"),
        ("[[waver]]\n", "'waver' is unknown"),
        ("[[waiver]\n", r"waivers\.toml: "),
    ],
)
def test_a_wrong_file_of_waivers_says_what_is_wrong(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "waivers.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=says):
        waivers.read(path)


def test_the_kits_own_threads_ask_nothing_that_breaks_when_they_are_paused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alive = threading.Thread.is_alive

    def asked(thread: threading.Thread) -> bool:
        assert threading.current_thread() is threading.main_thread()
        return alive(thread)

    monkeypatch.setattr(threading.Thread, "is_alive", asked)
    with judging(Judge(frozenset())):
        threads.play_round(load("python"), EdgeSpec(2, "latest"), items=10, pause_every=3)
