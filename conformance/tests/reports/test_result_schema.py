"""result.json keeps its published schema, and what is read is what was written."""

import copy
import json
from pathlib import Path

import jsonschema
import pytest

from meridian_conformance.reports import result_file
from meridian_conformance.verdicts import Result, Verdict

pytestmark = pytest.mark.req("X5", "X4")

SCHEMA = result_file.schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def test_the_schema_is_one_of_the_named_draft():
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("which", ["passed", "mixed", "hostile"])
def test_every_result_keeps_the_schema_and_reads_back(
    which: str, tmp_path: Path, request: pytest.FixtureRequest
):
    result: Result = request.getfixturevalue(which)
    VALIDATOR.validate(json.loads(result_file.dumps(result)))
    path = tmp_path / "result.json"
    path.write_text(result_file.dumps(result), encoding="utf-8")
    assert result_file.load(path).to_json() == result.to_json()


def test_the_schema_knows_every_verdict():
    assert SCHEMA["$defs"]["rule_result"]["properties"]["verdict"]["enum"] == [str(each) for each in Verdict]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.pop("suite"), "'suite' is a required property"),
        (lambda data: data.update(more=1), "'more' was unexpected"),
        (lambda data: data["rules"][0].update(verdict="fine"), "'fine' is not one of"),
        (lambda data: data["rules"][0].update(rule="edge 1"), "does not match"),
        (lambda data: data.update(exit_code=2), "2 is not one of"),
    ],
)
def test_the_schema_refuses_what_is_wrong(mixed: Result, change, said: str):
    data = mixed.to_json()
    change(data)
    assert [error.message for error in VALIDATOR.iter_errors(data) if said in error.message] != []


def test_what_varies_from_run_to_run_is_declared_and_can_be_left_out(mixed: Result):
    other = copy.deepcopy(mixed)
    other.started, other.seconds = "2027-01-01T00:00:00+00:00", 99.0
    other.environment = {"python": "3.14.0"}
    other.checks[0].seconds = 9.9
    assert other.to_json() != mixed.to_json()
    stable = result_file.without_varying(mixed.to_json())
    assert result_file.without_varying(other.to_json()) == stable
    assert stable["rules"][1]["failures"][0]["trace"]["steps"][1]["got"] == "BLOCKED"
    other.rules[0].situations[0].seen += 1
    assert result_file.without_varying(other.to_json()) != stable


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 99}', '{"format": 1}', '{"format": 1, "rules": 3}']
)
def test_a_file_that_is_no_result_is_refused_by_name(text: str, tmp_path: Path):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"other\.json"):
        result_file.load(path)
