"""Nodes that change the form of payloads, or refuse those of the wrong form."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
from enum import Enum
from typing import TYPE_CHECKING, Any

from meridian.core.errors import MeridianError
from meridian.nodes.arguments import member, size, wrong
from meridian.nodes.base import ErrorPolicy, NodeConfig, PipeNode, validate_callable
from meridian.nodes.extras import load
from meridian.redaction import type_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from meridian.core.message import Message

__all__ = [
    "CompressionMode",
    "CompressionNode",
    "CompressionType",
    "EncryptionAlgorithm",
    "EncryptionMode",
    "EncryptionNode",
    "SchemaType",
    "SerializationFormat",
    "SerializationNode",
    "ValidationNode",
]


class ContentError(MeridianError, ValueError):
    """A payload hasn't the form that a node needs; the text names types and lengths, never contents."""


class ValidationFailedError(ContentError):
    """A payload isn't valid, or its validity couldn't be found out; ``__cause__`` says why where something was raised."""


class SchemaType(str, Enum):
    """What a `ValidationNode` takes as its schema."""

    JSON_SCHEMA = "json_schema"
    CALLABLE = "callable"


class SerializationFormat(str, Enum):
    """A text format."""

    JSON = "json"


class CompressionType(str, Enum):
    """A format of compressed bytes."""

    GZIP = "gzip"


class CompressionMode(str, Enum):
    """Which way a `CompressionNode` works."""

    COMPRESS = "compress"
    DECOMPRESS = "decompress"


class EncryptionAlgorithm(str, Enum):
    """An authenticated cipher; both take keys of 32 bytes."""

    AES_256_GCM = "aes_256_gcm"
    CHACHA20_POLY1305 = "chacha20_poly1305"


class EncryptionMode(str, Enum):
    """Which way an `EncryptionNode` works."""

    ENCRYPT = "encrypt"
    DECRYPT = "decrypt"


# ---- validation ----------------------------------------------------------------------------------------------


class ValidationNode(PipeNode):
    """Forwards the DATA messages whose payload is valid, and deals with the others by the error policy.

    A message that isn't valid is dropped and logged (`ErrorPolicy.LOG_AND_CONTINUE`), becomes an ERROR message whose
    ``error_message`` is ``validation_failed`` (`ErrorPolicy.EMIT_ERROR`), or raises a ``ValueError``
    (`ErrorPolicy.RAISE_EXCEPTION`). If a callable raised, the log names what, and so does ``context["cause"]`` of the ERROR
    message. Valid messages go on as the same object. CONTROL and ERROR are forwarded.

    Args:
        name: Unique within its graph.
        schema: A function that returns something true for a valid payload, or a JSON Schema (the draft that its
            ``$schema`` names, else the latest). References to other documents are never fetched.
        schema_type: Which of the two. `SchemaType.JSON_SCHEMA` needs jsonschema: ``pip install
            'meridian-runtime[schemas]'``; without it nothing is valid, and each failure says so.
        input_port: Name of the input.
        output_port: Name of the output.
        config: Settings; default ones if left out.

    Raises:
        ValueError: the schema can't be called, or is no JSON Schema.

    Example:
        ```python
        from meridian import graph, sink, source
        from meridian.nodes.data_processing import ValidationNode
        from meridian.testing import simulate

        got = []
        made = ValidationNode("positive", lambda x: x > 0)
        simulate(graph("g", source([1, -2, 3]) >> made >> sink(got.append, name="end")))
        assert got == [1, 3]
        ```
    """

    def __init__(
        self,
        name: str,
        schema: Any,
        schema_type: SchemaType = SchemaType.CALLABLE,
        input_port: str = "input",
        output_port: str = "output",
        config: NodeConfig | None = None,
    ) -> None:
        super().__init__(name, input_port, output_port, config)
        self._missing: ImportError | None = None
        if member(self, "schema_type", schema_type, SchemaType) is SchemaType.CALLABLE:
            validate_callable(schema)
            self._user_function = schema
        elif isinstance(schema, (dict, bool)):
            try:
                self._user_function = self._json_schema(schema)
            except ImportError as error:
                self._missing = error
        else:
            raise wrong(TypeError, self, "schema", schema, "a dict or a bool for SchemaType.JSON_SCHEMA")

    def _json_schema(self, schema: dict[str, Any] | bool) -> Callable[[Any], bool]:
        jsonschema = load("jsonschema", "schemas", "SchemaType.JSON_SCHEMA")
        known = load("jsonschema_specifications", "schemas", "SchemaType.JSON_SCHEMA").REGISTRY
        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        try:
            kind.check_schema(schema)
        except jsonschema.SchemaError as error:
            raise wrong(ValueError, self, "schema", schema, f"a JSON Schema ({error.message})") from error
        # With a registry of its own: jsonschema's default one fetches what a schema refers to.
        is_valid: Callable[[Any], bool] = kind(schema, registry=known).is_valid
        return is_valid

    def _handle_data(self, msg: Message[Any]) -> None:
        if self._is_valid(msg):
            self.emit(self._output_port, msg)

    def _is_valid(self, msg: Message[Any]) -> bool:
        """Say whether a message may pass; if not, the error policy has been followed."""
        if self._missing is not None:
            self._handle_failure(self._missing, msg)
            return False
        assert self._user_function is not None
        cause = None
        try:
            if self._user_function(msg.payload):
                return True
        except Exception as error:  # noqa: BLE001 - the error policy decides
            cause = error
        if cause is not None and self._config.error_policy == ErrorPolicy.LOG_AND_CONTINUE:
            self._handle_failure(cause, msg)
            return False
        failed = ValidationFailedError("validation_failed")
        failed.__cause__ = cause
        context = {} if cause is None else {"cause": type(cause).__name__}
        self._handle_failure(failed, msg, **context)
        return False


# ---- conversion ----------------------------------------------------------------------------------------------


class _ConvertingNode(PipeNode):
    """Replaces the payload of each DATA message, keeping trace, headers and metadata; forwards CONTROL and ERROR.

    Whatever ``_convert`` raises follows the error policy.
    """

    def _convert(self, payload: Any) -> Any:
        """Return what the payload becomes."""
        raise NotImplementedError

    def _handle_data(self, msg: Message[Any]) -> None:
        try:
            converted = msg.with_payload(self._convert(msg.payload))
        except Exception as error:  # noqa: BLE001 - the error policy decides
            self._handle_failure(error, msg)
            return
        self.emit(self._output_port, converted)


def _as_bytes(payload: Any) -> bytes:
    """Return bytes as they are, text as UTF-8, and anything else as JSON."""
    if isinstance(payload, (bytes, bytearray, memoryview)):
        return bytes(payload)
    return (payload if isinstance(payload, str) else json.dumps(payload)).encode()


class SerializationNode(_ConvertingNode):
    """Turns text into what it means, and anything else into text, as JSON.

    A str is parsed, everything else is written. What can't be follows the error policy. The new message keeps trace,
    headers and metadata. CONTROL and ERROR are forwarded.

    Args:
        name: Unique within its graph.
        input_format: v1's; there is only one.
        output_format: v1's; there is only one.
        input_port: Name of the input.
        output_port: Name of the output.
        config: Settings; default ones if left out.

    Example:
        ```python
        from meridian import graph, sink, source
        from meridian.nodes.data_processing import SerializationNode
        from meridian.testing import simulate

        got = []
        made = SerializationNode("json")
        simulate(graph("g", source(['{"a": 1}', [1, 2]]) >> made >> sink(got.append, name="end")))
        assert got == [{"a": 1}, "[1, 2]"]
        ```
    """

    def __init__(
        self,
        name: str,
        input_format: SerializationFormat = SerializationFormat.JSON,
        output_format: SerializationFormat = SerializationFormat.JSON,
        input_port: str = "input",
        output_port: str = "output",
        config: NodeConfig | None = None,
    ) -> None:
        super().__init__(name, input_port, output_port, config)
        member(self, "input_format", input_format, SerializationFormat)
        member(self, "output_format", output_format, SerializationFormat)

    def _convert(self, payload: Any) -> Any:
        return json.loads(payload) if isinstance(payload, str) else json.dumps(payload)


class CompressionNode(_ConvertingNode):
    """Compresses payloads with gzip, or decompresses them.

    Compressed are bytes as they are, text as UTF-8, and anything else as JSON; equal payloads give equal bytes. Decompressed
    are bytes, and text that holds them in base64; the result is bytes. What can't be follows the error policy. The new message
    keeps trace, headers and metadata. CONTROL and ERROR are forwarded.

    Args:
        name: Unique within its graph.
        compression_type: v1's; there is only one.
        compression_level: From 0 (not at all) to 9 (smallest); -1 is zlib's default.
        mode: Which way.
        input_port: Name of the input.
        output_port: Name of the output.
        config: Settings; default ones if left out.
        max_bytes: Most bytes that a payload may decompress to; more is a failure, found before they are in memory. ``None``
            means no limit. Set it where payloads come from strangers: gzip packs a gigabyte into a megabyte.

    Cost: runs on the loop, in proportion to the payload.

    Example:
        ```python
        from meridian import graph, sink, source
        from meridian.nodes.data_processing import CompressionMode, CompressionNode
        from meridian.testing import simulate

        got = []
        pack = CompressionNode("pack")
        unpack = CompressionNode("unpack", mode=CompressionMode.DECOMPRESS, max_bytes=1_000_000)
        simulate(graph("g", source(["text"]) >> pack >> unpack >> sink(got.append, name="end")))
        assert got == [b"text"]
        ```
    """

    def __init__(
        self,
        name: str,
        compression_type: CompressionType = CompressionType.GZIP,
        compression_level: int = 6,
        mode: CompressionMode = CompressionMode.COMPRESS,
        input_port: str = "input",
        output_port: str = "output",
        config: NodeConfig | None = None,
        *,
        max_bytes: int | None = None,
    ) -> None:
        super().__init__(name, input_port, output_port, config)
        member(self, "compression_type", compression_type, CompressionType)
        if isinstance(compression_level, bool) or not isinstance(compression_level, int):
            raise wrong(TypeError, self, "compression_level", compression_level, "a whole number")
        if not -1 <= compression_level <= 9:
            raise wrong(ValueError, self, "compression_level", compression_level, "from -1 to 9")
        self._level = compression_level
        self._compresses = member(self, "mode", mode, CompressionMode) is CompressionMode.COMPRESS
        self._max_bytes = None if max_bytes is None else size(self, "max_bytes", max_bytes)

    def _convert(self, payload: Any) -> bytes:
        if self._compresses:
            # Without the time of day, which gzip would write down.
            return gzip.compress(_as_bytes(payload), self._level, mtime=0)
        if isinstance(payload, str):
            packed = base64.b64decode(payload)
        elif isinstance(payload, (bytes, bytearray, memoryview)):
            packed = bytes(payload)
        else:
            raise ContentError(
                f"only bytes, or text in base64, can be decompressed, not {type_name(payload)}"
            )
        if self._max_bytes is None:
            return gzip.decompress(packed)
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
            unpacked = file.read(self._max_bytes + 1)
        if len(unpacked) > self._max_bytes:
            raise ContentError(f"it decompresses to more than max_bytes, {self._max_bytes}")
        return unpacked


# ---- encryption ----------------------------------------------------------------------------------------------

KEY_BYTES = 32
NONCE_BYTES = 12


class EncryptionNode(_ConvertingNode):
    """Encrypts payloads so that changes to them are noticed, or decrypts them.

    Encrypted are bytes as they are, text as UTF-8, and anything else as JSON. The result is a dict, the envelope:

    * ``alg``: name of the algorithm, the value of `EncryptionAlgorithm`;
    * ``nonce``: 12 random bytes, drawn anew each time;
    * ``ciphertext``: bytes, the authentication tag at their end;
    * ``aad``: bytes, the associated data: readable by all, changeable by none.

    Decrypted is such an envelope; the result is bytes. A payload that is no envelope, or that was changed, or was made with
    another key, algorithm or ``associated_data``, is a ``ValueError`` that follows the error policy. The new message keeps
    trace, headers and metadata, none of which is encrypted or protected. CONTROL and ERROR are forwarded.

    The associated data is ``meridian:``, the algorithm, ``:``, and what you pass as ``associated_data``: a constant that says
    what the messages are for, such as ``b"orders -> billing"``. Whoever decrypts passes the same. It is compared with what the
    decrypting node was made with and never taken from the envelope, so an envelope can't be passed off for another purpose.
    v1 bound the headers as JSON, and believed the envelope about them, which proves nothing; such envelopes are still read
    by nodes without ``associated_data``.

    Args:
        name: Unique within its graph.
        encryption_key: 32 random bytes, such as from ``secrets.token_bytes(32)``.
        algorithm: Which cipher.
        mode: Which way.
        input_port: Name of the input.
        output_port: Name of the output.
        config: Settings; default ones if left out.
        associated_data: What the messages are for; no secret.

    Raises:
        ValueError: the key hasn't 32 bytes.
        ImportError: cryptography isn't installed: ``pip install 'meridian-runtime[crypto]'``.

    Change the key before 2**32 messages were encrypted with it; random nonces aren't safe beyond.

    Cost: runs on the loop, in proportion to the payload.

    Example:
        ```python
        from meridian import graph, sink, source
        from meridian.nodes.data_processing import EncryptionMode, EncryptionNode
        from meridian.testing import simulate

        key = bytes(range(32))
        lock = EncryptionNode("lock", key, associated_data=b"letters")
        unlock = EncryptionNode(
            "unlock", key, mode=EncryptionMode.DECRYPT, associated_data=b"letters"
        )
        got = []
        simulate(
            graph("g", source(["dear ann"]) >> lock >> unlock >> sink(got.append, name="end"))
        )
        assert got == [b"dear ann"]
        ```
    """

    def __init__(
        self,
        name: str,
        encryption_key: bytes,
        algorithm: EncryptionAlgorithm = EncryptionAlgorithm.AES_256_GCM,
        mode: EncryptionMode = EncryptionMode.ENCRYPT,
        input_port: str = "input",
        output_port: str = "output",
        config: NodeConfig | None = None,
        *,
        associated_data: bytes = b"",
    ) -> None:
        super().__init__(name, input_port, output_port, config)
        algorithm = member(self, "algorithm", algorithm, EncryptionAlgorithm)
        place = f"EncryptionNode {name!r}"  # the key itself must not show in an error
        if not isinstance(encryption_key, (bytes, bytearray)):
            raise TypeError(f"{place}: encryption_key must be bytes, got {type(encryption_key).__name__}")
        if len(encryption_key) != KEY_BYTES:
            raise ValueError(
                f"{place}: encryption_key must have {KEY_BYTES} bytes for {algorithm.value}, got {len(encryption_key)}"
            )
        if not isinstance(associated_data, bytes):
            raise wrong(TypeError, self, "associated_data", associated_data, "bytes")
        self._encrypts = member(self, "mode", mode, EncryptionMode) is EncryptionMode.ENCRYPT
        self._algorithm = algorithm.value
        self._binding = b"meridian:" + algorithm.value.encode() + b":" + associated_data
        self._reads_v1 = not associated_data
        ciphers = load("cryptography.hazmat.primitives.ciphers.aead", "crypto", "EncryptionNode")
        kind = ciphers.AESGCM if algorithm is EncryptionAlgorithm.AES_256_GCM else ciphers.ChaCha20Poly1305
        self._cipher = kind(bytes(encryption_key))

    def _convert(self, payload: Any) -> Any:
        if not self._encrypts:
            return self._decrypted(payload)
        nonce = os.urandom(
            NONCE_BYTES
        )  # from the system, whatever the run's seed: a nonce must never come twice
        ciphertext = self._cipher.encrypt(nonce, _as_bytes(payload), self._binding)
        return {"alg": self._algorithm, "nonce": nonce, "ciphertext": ciphertext, "aad": self._binding}

    def _decrypted(self, envelope: Any) -> bytes:
        if not isinstance(envelope, dict):
            raise ContentError(f"an envelope is a dict, not {type_name(envelope)}")
        wanted = ("nonce", "ciphertext", "aad")
        nonce, ciphertext, aad = (envelope.get(key) for key in wanted)
        if not (isinstance(nonce, bytes) and isinstance(ciphertext, bytes) and isinstance(aad, bytes)):
            raise ContentError("an envelope has the keys nonce, ciphertext and aad, all bytes")
        if len(nonce) != NONCE_BYTES:
            raise ContentError(f"the nonce has {len(nonce)} bytes instead of {NONCE_BYTES}")
        if str(envelope.get("alg")).lower() != self._algorithm:
            raise ContentError(f"the envelope isn't of {self._algorithm}")
        # v1's were JSON objects or empty. Ours never are, so no envelope of ours passes as one of v1's.
        is_v1 = self._reads_v1 and (not aad or aad.startswith(b"{"))
        try:
            plain: bytes = self._cipher.decrypt(nonce, ciphertext, aad if is_v1 else self._binding)
        except Exception as error:  # cryptography's InvalidTag has no text
            raise ContentError(
                "can't be decrypted: changed, or made with another key or associated_data"
            ) from error
        return plain
