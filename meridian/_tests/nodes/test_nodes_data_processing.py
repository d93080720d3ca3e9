"""Validation, serialization, compression and encryption: payloads change, messages go on, and failures tell no payload."""

from __future__ import annotations

import base64
import gzip
import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian import Message, graph, sink, source, via
from meridian._tests.nodes.parts import EMITS, RAISES, payloads
from meridian.core.message import DATA
from meridian.nodes.base import NodeConfig
from meridian.nodes.data_processing import (
    CompressionMode,
    CompressionNode,
    CompressionType,
    EncryptionAlgorithm,
    EncryptionMode,
    EncryptionNode,
    SchemaType,
    SerializationFormat,
    SerializationNode,
    ValidationNode,
)
from meridian.testing import NodeTestHarness, simulate

pytestmark = pytest.mark.req("V11")

KEY = bytes(range(32))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def through(made: Any, *items: Any) -> list[Any]:
    harness = NodeTestHarness(made)
    for item in items:
        harness.send_message("input", item)
    return payloads(harness)


NODES = {
    "validation": lambda config=None: ValidationNode("n", lambda payload: payload["x"], config=config),
    "serialization": lambda config=None: SerializationNode("n", config=config),
    "compression": lambda config=None: CompressionNode("n", mode=CompressionMode.DECOMPRESS, config=config),
    "encryption": lambda config=None: EncryptionNode("n", KEY, mode=EncryptionMode.DECRYPT, config=config),
}
BAD = "{no secret"
"""A payload that none of them can take."""
FAILURES = {
    "validation": "TypeError",
    "serialization": "json.decoder.JSONDecodeError",
    "compression": "gzip.BadGzipFile",
    "encryption": "meridian.nodes.data_processing.ContentError",
}


@pytest.mark.parametrize("make", NODES.values(), ids=NODES)
def test_control_and_error_are_forwarded_as_they_are(make):
    harness = NodeTestHarness(make())
    harness.send_control("input", "go")
    harness.send_error("input", {"why": 1})
    assert [(m.type.value, m.payload) for m in harness.get_emitted_messages("output")] == [
        ("CONTROL", "go"),
        ("ERROR", {"why": 1}),
    ]


@pytest.mark.parametrize("make", NODES.values(), ids=NODES)
def test_messages_on_other_ports_are_ignored(make):
    harness = NodeTestHarness(make())
    harness.send_message("elsewhere", "a")
    harness.send_control("elsewhere")
    assert payloads(harness) == []


@pytest.mark.v1("D53")
@pytest.mark.parametrize("name", NODES)
def test_a_failure_that_is_logged_names_its_real_type_and_nothing_of_the_payload(name, log, records):
    simulation = simulate(graph("g", source([BAD]) >> NODES[name]() >> sink(lambda _: None, name="end")))
    assert [line["error_type"] for line in records("function_node.error")] == [FAILURES[name]]
    assert [(error.node, error.type) for error in simulation.report.errors] == [("n", FAILURES[name])]
    assert BAD not in log.getvalue() + str(simulation.report)


@pytest.mark.parametrize("name", NODES)
def test_a_failure_may_become_an_error_message_without_the_payload(name):
    harness = NodeTestHarness(NODES[name](EMITS))
    harness.send_message("input", BAD, headers={"trace_id": "t"})
    (message,) = harness.get_emitted_messages("output")
    assert (message.type.value, message.get_trace_id()) == ("ERROR", "t")
    assert BAD not in str(message.payload)


@pytest.mark.parametrize("name", NODES)
def test_a_failure_may_be_raised(name):
    with pytest.raises((ValueError, gzip.BadGzipFile)):
        NodeTestHarness(NODES[name](RAISES)).send_message("input", BAD)


@pytest.mark.v1("D54")
@pytest.mark.parametrize(
    "made",
    [SerializationNode("n"), CompressionNode("n"), EncryptionNode("n", KEY)],
    ids=lambda made: type(made).__name__,
)
def test_what_a_payload_becomes_keeps_trace_headers_and_metadata(made):
    harness = NodeTestHarness(made)
    harness.send_message("input", [1], metadata={"m": 1}, headers={"trace_id": "t", "to": object})
    (message,) = harness.get_emitted_messages("output")
    assert (message.get_trace_id(), message.headers["to"], message.metadata) == ("t", object, {"m": 1})


# --- validation


def test_a_valid_message_goes_on_as_the_same_object_and_others_are_dropped():
    made = ValidationNode("n", lambda payload: payload > 0)
    emitted: list[Message[Any]] = []
    made.emit = lambda port, msg: emitted.append(msg) or msg
    good, bad = Message(DATA, 1), Message(DATA, -1)
    made._handle_message("input", good)
    made._handle_message("input", bad)
    assert len(emitted) == 1
    assert emitted[0] is good


@pytest.mark.parametrize(
    ("schema", "cause"), [(lambda payload: False, None), (lambda payload: {}[payload], "KeyError")]
)
def test_an_invalid_message_may_become_an_error_that_says_validation_failed(schema, cause):
    harness = NodeTestHarness(ValidationNode("n", schema, config=EMITS))
    harness.send_message("input", "secret")
    (message,) = harness.get_emitted_messages("output")
    assert message.payload["error_message"] == "validation_failed"
    assert message.payload["context"].get("cause") == cause
    assert message.payload["original_payload"] == "[redacted]"


def test_an_invalid_message_may_raise_a_value_error_with_its_cause():
    harness = NodeTestHarness(ValidationNode("n", lambda payload: {}[payload], config=RAISES))
    with pytest.raises(ValueError, match=r"^validation_failed$") as caught:
        harness.send_message("input", "secret")
    assert isinstance(caught.value.__cause__, KeyError)


SCHEMA = {"type": "object", "required": ["x"], "properties": {"x": {"type": "integer", "minimum": 0}}}


def test_a_json_schema_decides():
    made = ValidationNode("n", SCHEMA, SchemaType.JSON_SCHEMA)
    assert through(made, {"x": 1}, {"x": -1}, {}, "x", {"x": 2, "y": 3}) == [{"x": 1}, {"x": 2, "y": 3}]


def test_a_json_schema_may_be_true_or_false_and_name_its_draft():
    assert through(ValidationNode("n", True, SchemaType.JSON_SCHEMA), 1) == [1]
    assert through(ValidationNode("n", False, SchemaType.JSON_SCHEMA), 1) == []
    old = {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 1, "exclusiveMinimum": True}
    assert through(ValidationNode("n", old, SchemaType.JSON_SCHEMA), 1, 2) == [2]


def test_a_schema_fetches_nothing_from_elsewhere(monkeypatch: pytest.MonkeyPatch, records):
    import urllib.request

    monkeypatch.setattr(urllib.request, "urlopen", lambda *_: pytest.fail("it fetched something"))
    assert through(ValidationNode("n", {"$ref": "http://localhost/other"}, SchemaType.JSON_SCHEMA), 1) == []
    assert "WrappedReferencingError" in records("function_node.error")[0]["error_type"]


def test_a_schema_may_refer_to_itself_and_to_the_known_drafts():
    schema = {"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}}
    assert through(ValidationNode("n", schema, SchemaType.JSON_SCHEMA), 1, "1") == [1]
    schema = {"$ref": "https://json-schema.org/draft/2020-12/schema"}
    assert through(ValidationNode("n", schema, SchemaType.JSON_SCHEMA), {"type": "object"}, {"type": 1}) == [
        {"type": "object"}
    ]


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: ValidationNode("n", {"type": 3}, SchemaType.JSON_SCHEMA), ValueError, "schema must be a JSON Schema"),
        (lambda: ValidationNode("n", len, SchemaType.JSON_SCHEMA), TypeError, "schema must be a dict or a bool"),
        (lambda: ValidationNode("n", SCHEMA), ValueError, "a function is needed, got dict"),
        (lambda: ValidationNode("n", len, "xml"), ValueError, "SchemaType.JSON_SCHEMA or SchemaType.CALLABLE, got 'xml'"),
    ],
)  # fmt: skip
def test_what_is_no_schema_is_refused(make, error, text):
    with pytest.raises(error, match=text):
        make()


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Behave as if a package weren't installed."""
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)

    class Hidden:
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
            if name.partition(".")[0] == package:
                raise ImportError(f"no {package}")

    monkeypatch.setattr(sys, "meta_path", [Hidden(), *sys.meta_path])


def test_without_jsonschema_nothing_is_valid_and_each_failure_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
):
    without(monkeypatch, "jsonschema")
    made = ValidationNode("n", SCHEMA, SchemaType.JSON_SCHEMA)
    simulation = simulate(graph("g", source([{"x": 1}]) >> made >> sink(lambda _: None, name="end")))
    (error,) = simulation.report.errors
    assert "pip install 'meridian-runtime[schemas]'" in error.message


# --- serialization


def test_text_is_parsed_and_anything_else_is_written():
    assert through(SerializationNode("n"), '{"a": [1, null]}', {"a": [1, None]}, 7, None, "null", "true") == [
        {"a": [1, None]},
        '{"a": [1, null]}',
        "7",
        "null",
        None,
        True,
    ]


@pytest.mark.parametrize("payload", [b"{}", object(), {1, 2}, "{", "[" * 100_000])
def test_what_is_no_json_follows_the_error_policy(payload):
    assert through(SerializationNode("n"), payload, "1") == [1]


@given(JSON)
def test_what_was_written_is_parsed_to_the_same(value):
    if isinstance(value, str):
        value = [value]
    (text,) = through(SerializationNode("n"), value)
    assert through(SerializationNode("n"), text) == [value]


# --- compression


def test_bytes_text_and_anything_else_as_json_are_compressed():
    packed = through(CompressionNode("n"), b"raw", bytearray(b"array"), "grün", {"a": 1})
    assert [gzip.decompress(each) for each in packed] == [b"raw", b"array", "grün".encode(), b'{"a": 1}']


def test_bytes_and_text_in_base64_are_decompressed():
    packed = gzip.compress(b"hello")
    made = CompressionNode("n", mode=CompressionMode.DECOMPRESS)
    assert through(made, packed, base64.b64encode(packed).decode()) == [b"hello", b"hello"]


def test_equal_payloads_give_equal_bytes_and_the_level_matters():
    text = "abc" * 1000 + "xyz" * 500
    first, again = through(CompressionNode("n"), text, text)
    assert first == again
    assert len(through(CompressionNode("n", compression_level=0), text)[0]) > len(text) > len(first)


@pytest.mark.parametrize("payload", [b"not gzip", gzip.compress(b"cut off")[:-4], 7, None, "é", "AAAA"])
def test_what_can_not_be_decompressed_follows_the_error_policy(payload):
    made = CompressionNode("n", mode=CompressionMode.DECOMPRESS)
    assert through(made, payload, gzip.compress(b"next")) == [b"next"]


def test_more_than_the_limit_is_a_failure_that_is_found_before_it_is_in_memory():
    bomb = gzip.compress(bytes(50_000_000))
    made = CompressionNode("n", mode=CompressionMode.DECOMPRESS, max_bytes=1000, config=RAISES)
    harness = NodeTestHarness(made)
    with pytest.raises(ValueError, match="more than max_bytes, 1000"):
        harness.send_message("input", bomb)
    harness.send_message("input", gzip.compress(bytes(1000)))
    assert payloads(harness) == [bytes(1000)]


@given(st.binary() | st.text())
def test_what_was_compressed_decompresses_to_the_same(payload):
    (packed,) = through(CompressionNode("n"), payload)
    (unpacked,) = through(CompressionNode("n", mode=CompressionMode.DECOMPRESS), packed)
    assert unpacked == (payload.encode() if isinstance(payload, str) else payload)


# --- encryption


def encrypted(payload: Any, **made_with: Any) -> dict[str, Any]:
    (envelope,) = through(EncryptionNode("n", KEY, **made_with), payload)
    return envelope


def decrypted(envelope: Any, key: bytes = KEY, **made_with: Any) -> bytes:
    made = EncryptionNode("n", key, mode=EncryptionMode.DECRYPT, config=RAISES, **made_with)
    (plain,) = through(made, envelope)
    return plain


@pytest.mark.parametrize("algorithm", EncryptionAlgorithm)
def test_an_envelope_has_four_keys_and_decrypts_to_bytes(algorithm):
    envelope = encrypted("dear ann", algorithm=algorithm)
    assert list(envelope) == ["alg", "nonce", "ciphertext", "aad"]
    assert envelope["alg"] == algorithm.value
    assert [type(envelope[key]) for key in ("nonce", "ciphertext", "aad")] == [bytes, bytes, bytes]
    assert len(envelope["nonce"]) == 12
    assert b"dear" not in envelope["ciphertext"]
    assert decrypted(envelope, algorithm=algorithm) == b"dear ann"


def test_text_and_anything_else_become_bytes_as_in_compression():
    assert [decrypted(encrypted(each)) for each in (b"raw", "grün", {"a": 1})] == [
        b"raw",
        "grün".encode(),
        b'{"a": 1}',
    ]


def test_each_nonce_is_drawn_anew_also_where_runs_repeat():
    nonces: list[bytes] = []
    for _ in range(2):
        got: list[Any] = []
        simulate(
            graph("g", source([1] * 20) >> EncryptionNode("n", KEY) >> sink(got.append, name="end")), seed=1
        )
        nonces += [envelope["nonce"] for envelope in got]
    assert len(set(nonces)) == 40


@pytest.mark.v1("D66")
def test_headers_play_no_part_so_they_may_change_on_the_way_and_need_not_be_json():
    lock, unlock = (
        NodeTestHarness(EncryptionNode("n", KEY)),
        EncryptionNode("m", KEY, mode=EncryptionMode.DECRYPT),
    )
    lock.send_message("input", "text", headers={"object": object()})
    (message,) = lock.get_emitted_messages("output")
    unlocked = NodeTestHarness(unlock)
    unlocked.send_message("input", message.payload, headers={"another": "one"})
    assert payloads(unlocked) == [b"text"]


@pytest.mark.v1("D66")
@pytest.mark.parametrize("algorithm", EncryptionAlgorithm)
def test_an_envelope_for_one_purpose_passes_for_no_other(algorithm):
    envelope = encrypted("text", algorithm=algorithm, associated_data=b"orders")
    assert decrypted(envelope, algorithm=algorithm, associated_data=b"orders") == b"text"
    for other in (b"", b"bills", b"orders2"):
        with pytest.raises(ValueError, match="changed, or made with another key or associated_data"):
            decrypted(envelope, algorithm=algorithm, associated_data=other)
    unbound = encrypted("text", algorithm=algorithm)
    with pytest.raises(ValueError, match="another key or associated_data"):
        decrypted(unbound, algorithm=algorithm, associated_data=b"orders")


@pytest.mark.v1("D66")
@pytest.mark.parametrize(
    "aad", [b"", b"{}", b'{"trace_id": "t"}', b"meridian:aes_256_gcm:", b"meridian:aes_256_gcm:bills"]
)
def test_what_the_envelope_says_about_itself_is_not_believed(aad):
    envelope = encrypted("text", associated_data=b"orders")
    for bound in (b"", b"bills"):
        with pytest.raises(ValueError, match="changed, or made with another"):
            decrypted({**envelope, "aad": aad}, associated_data=bound)


def v1_envelope(payload: bytes, aad: bytes) -> dict[str, Any]:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = bytes(12)
    return {
        "alg": "aes_256_gcm",
        "nonce": nonce,
        "ciphertext": AESGCM(KEY).encrypt(nonce, payload, aad),
        "aad": aad,
    }


@pytest.mark.v1("D66")
@pytest.mark.parametrize("aad", [b"", json.dumps({"trace_id": "t", "timestamp": 1.0}).encode()])
def test_envelopes_of_v1_are_read_by_nodes_that_bind_nothing_and_by_no_others(aad):
    assert decrypted(v1_envelope(b"old", aad)) == b"old"
    with pytest.raises(ValueError, match="associated_data"):
        decrypted(v1_envelope(b"old", aad), associated_data=b"orders")


@given(st.binary(max_size=50), st.data())
def test_every_change_to_an_envelope_is_noticed(payload, data):
    envelope = encrypted(payload)
    key = data.draw(st.sampled_from(["nonce", "ciphertext"]))
    at = data.draw(st.integers(0, len(envelope[key]) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    changed = bytearray(envelope[key])
    changed[at] ^= bit
    with pytest.raises(ValueError, match="changed"):
        decrypted({**envelope, key: bytes(changed)})


def test_another_key_or_algorithm_decrypts_nothing():
    envelope = encrypted("text")
    with pytest.raises(ValueError, match="another key"):
        decrypted(envelope, key=bytes(32))
    with pytest.raises(ValueError, match="the envelope isn't of chacha20_poly1305"):
        decrypted(envelope, algorithm=EncryptionAlgorithm.CHACHA20_POLY1305)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"nonce": b"short"}, "the nonce has 5 bytes instead of 12"),
        ({"nonce": "text"}, "the keys nonce, ciphertext and aad, all bytes"),
        ({"ciphertext": None}, "the keys nonce, ciphertext and aad, all bytes"),
        ({"ciphertext": b""}, "can't be decrypted"),
        ({"aad": 1}, "the keys nonce, ciphertext and aad, all bytes"),
        ({"alg": None}, "the envelope isn't of aes_256_gcm"),
    ],
)
def test_a_bad_envelope_is_a_value_error_that_says_what_is_wrong(change, text):
    with pytest.raises(ValueError, match=text):
        decrypted({**encrypted("secret"), **change})


@pytest.mark.parametrize("envelope", ["text", b"bytes", None, 7, [1], {}])
def test_what_is_no_envelope_is_a_value_error(envelope):
    with pytest.raises(ValueError, match="an envelope"):
        decrypted(envelope)


@pytest.mark.v1("D66")
@pytest.mark.parametrize("algorithm", EncryptionAlgorithm)
@pytest.mark.parametrize("length", [0, 16, 24, 31, 33])
def test_keys_have_32_bytes_and_are_not_shown(algorithm, length):
    with pytest.raises(ValueError, match=f"must have 32 bytes for {algorithm.value}, got {length}") as caught:
        EncryptionNode("n", b"K" * length, algorithm)
    assert "KK" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: EncryptionNode("n", "k" * 32), TypeError, "encryption_key must be bytes, got str$"),
        (lambda: EncryptionNode("n", KEY, "rot13"), ValueError, "algorithm must be EncryptionAlgorithm.AES_256_GCM or"),
        (lambda: EncryptionNode("n", KEY, mode="hide"), ValueError, "mode must be EncryptionMode.ENCRYPT or"),
        (lambda: EncryptionNode("n", KEY, associated_data="x"), TypeError, "associated_data must be bytes, got 'x'"),
        (lambda: CompressionNode("n", "zip"), ValueError, "compression_type must be CompressionType.GZIP, got 'zip'"),
        (lambda: CompressionNode("n", compression_level=10), ValueError, "compression_level must be from -1 to 9, got 10"),
        (lambda: CompressionNode("n", compression_level=1.5), TypeError, "compression_level must be a whole number"),
        (lambda: CompressionNode("n", max_bytes=0), ValueError, "max_bytes must be at least 1"),
        (lambda: SerializationNode("n", "yaml"), ValueError, "input_format must be SerializationFormat.JSON, got 'yaml'"),
        (lambda: SerializationNode("n", output_format=1), TypeError, "output_format must be SerializationFormat.JSON"),
    ],
)  # fmt: skip
def test_wrong_parameters_are_refused_with_name_value_and_what_is_allowed(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_without_cryptography_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    without(monkeypatch, "cryptography")
    with pytest.raises(ImportError, match=r"pip install 'meridian-runtime\[crypto\]'"):
        EncryptionNode("n", KEY)


def test_the_key_shows_in_no_repr():
    assert repr(EncryptionNode("n", KEY)) == "<EncryptionNode 'n'>"


# --- all


@pytest.mark.req("V4")
@given(st.lists(st.binary(max_size=20), max_size=15), st.sampled_from([1, 2, 100]), st.integers(0, 5))
def test_a_pipeline_there_and_back_loses_repeats_and_reorders_nothing(items, capacity, seed):
    got: list[bytes] = []
    simulate(
        graph(
            "g",
            source(items) >> via(capacity=capacity) >> ValidationNode("v", lambda payload: True) >> via(capacity=capacity)
            >> CompressionNode("c") >> via(capacity=capacity)
            >> EncryptionNode("e", KEY) >> via(capacity=capacity)
            >> EncryptionNode("f", KEY, mode=EncryptionMode.DECRYPT) >> via(capacity=capacity)
            >> CompressionNode("d", mode=CompressionMode.DECOMPRESS) >> via(capacity=capacity)
            >> sink(got.append, name="end"),
        ),
        seed=seed,
    )  # fmt: skip
    assert got == items


def test_the_order_of_positional_parameters_is_that_of_v1():
    config = NodeConfig()
    made = [
        ValidationNode("n", len, SchemaType.CALLABLE, "in", "out", config),
        SerializationNode("n", SerializationFormat.JSON, SerializationFormat.JSON, "in", "out", config),
        CompressionNode("n", CompressionType.GZIP, 6, CompressionMode.COMPRESS, "in", "out", config),
        EncryptionNode(
            "n", KEY, EncryptionAlgorithm.AES_256_GCM, EncryptionMode.ENCRYPT, "in", "out", config
        ),
    ]
    assert [list(each.port_map()) for each in made] == [["in", "out"]] * 4
