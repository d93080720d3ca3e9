"""The loops around single operations do what they say, at sizes that take no time; how long is not tested here."""

import asyncio

import pytest

from meridian.observability import LogConfig
from meridian.observability.logging import replace_config

pytest.importorskip("asv_bench", reason="the benchmarks are not part of the wheel")
from asv_bench import operations, workloads

pytestmark = pytest.mark.req("X3")

POLICIES, LIMITS = list(operations.POLICIES), list(operations.LIMITS)


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("policy", POLICIES)
def test_an_edge_of_each_policy_and_limit_is_put_on_and_taken_from(policy, limit):
    assert asyncio.run(workloads.put_and_get(50, operations.edge(policy, limit))) > 0
    assert operations.put_when_full(50, policy, limit) > 0
    assert operations.put_many_and_take_many(128, policy, limit) > 0


def test_there_is_an_answer_of_a_full_edge_for_each_policy():
    assert list(operations.FULL) == POLICIES


@pytest.mark.parametrize("ready", [1, 2, 40])
def test_as_many_turns_are_ready_afterwards_as_before(ready):
    assert operations.pick_and_push(100, ready) > 0


def test_each_slice_handles_one_item():
    assert operations.slices_of_one(50) > 0


def test_a_valid_graph_is_validated():
    assert operations.validated(20) > 0


@pytest.mark.parametrize("schema", list(operations.SCHEMAS))
def test_what_fits_a_schema_passes_its_edge(schema):
    assert operations.checked(50, schema) > 0


def test_no_payload_is_in_what_is_said_about_errors_and_records():
    assert operations.errors_redacted(10) > 0
    assert operations.records_logged(10) > 0


@pytest.mark.parametrize("kind", list(operations.TEXTS))
def test_only_what_is_personal_is_redacted_in_texts(kind):
    assert operations.texts_redacted(5, kind) > 0


def test_a_secret_is_redacted_in_data():
    assert operations.data_redacted(5) > 0


def test_the_first_program_ends():
    try:
        exec(operations.FIRST_MESSAGE, {})
    finally:
        replace_config(LogConfig())
