"""One policy at work: values and texts go in, what may be shown comes out.

Four ways in, for four kinds of sink: `Redactor.text` for one line, `Redactor.document` for a whole file, `Redactor.data` for
structured records, `Redactor.payload` for what a graph handles. `Redactor.describe` does it for exceptions.

No foreign code runs on the way: containers are read with the builtin classes' own methods, fields of dataclasses from
where they are stored, and of anything else only the class is named, unless the policy exposes reprs. Depth and size are
bounded and cycles are cut, so a hostile value costs no more than a large one.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

from meridian.redaction.actions import CUT, act, placeholder
from meridian.redaction.detectors import DETECTORS
from meridian.redaction.encoded import MAX_DEPTH, encoded_parts
from meridian.redaction.errors import (
    REDACTED,
    UNPRINTABLE,
    ErrorDescription,
    clean_lines,
    is_payload_free,
    place_of,
)
from meridian.redaction.fields import FieldReader
from meridian.redaction.names import class_name, module_name, type_name
from meridian.redaction.patterns import pattern
from meridian.redaction.vocabulary import endings_of, parse_path, path_matches, strongest, words_of

if TYPE_CHECKING:
    import re

    from meridian.redaction.policy import Policy
    from meridian.redaction.vocabulary import Classification, Rule, Step

MAX_TEXT = 8_192
"""So many characters of one text are shown; a longer one is cut, which is said."""

MAX_NESTING = 16
"""Containers within each other; what lies deeper is named by its type."""

MAX_ITEMS = 1_000
"""Items of one record, all containers taken together; what is beyond is left out, which is said."""

_LOOKAHEAD = 512  # what begins before the cut is recognised although it ends behind it
_MAX_REMEMBERED = 16_384
_MAX_REMEMBERED_LENGTH = 64
_UUID_LENGTH = 36  # trace ids: each is new, so remembering doesn't help

_CAUSE: Any = BaseException.__dict__["__cause__"]
_CONTEXT: Any = BaseException.__dict__["__context__"]
_SUPPRESS: Any = BaseException.__dict__["__suppress_context__"]
_TRACEBACK: Any = BaseException.__dict__["__traceback__"]
_GROUPED: Any = BaseExceptionGroup.__dict__["exceptions"]

_Found = tuple[int, int, "Rule", bool]


class Counts:
    """How often each rule was applied; safe to use from any thread."""

    __slots__ = ("_by_rule", "_lock")

    def __init__(self) -> None:
        self._by_rule: dict[str, int] = {}
        self.renew_lock()

    def renew_lock(self) -> None:
        """Forget who holds the lock: for a forked child, where that thread doesn't exist."""
        self._lock = threading.Lock()

    def add(self, rule: str) -> None:
        """Count one more."""
        with self._lock:
            self._by_rule[rule] = self._by_rule.get(rule, 0) + 1

    def read(self) -> dict[str, int]:
        """Return rules and counts, sorted by name."""
        with self._lock:
            return dict(sorted(self._by_rule.items()))


class Redactor:
    """Applies one policy; may be used from any thread.

    Args:
        policy: What may be shown.
        counts: Where applied rules are counted.
    """

    def __init__(self, policy: Policy, counts: Counts | None = None) -> None:
        self.policy = policy
        self.counts = counts or Counts()
        self._shows_errors = policy.exposes("error_messages")
        self._shows_payloads = policy.exposes("payloads")
        self._shows_reprs = policy.exposes("reprs")
        rules = policy.in_force
        self._by_key: dict[str, list[tuple[int, Rule]]] = {}
        for order, rule in enumerate(rules):
            for key in rule.key:
                self._by_key.setdefault("".join(words_of(key)), []).append((order, rule))
        self._by_path = [
            (order, rule, steps)
            for order, rule in enumerate(rules)
            for path in rule.path
            if (steps := parse_path(path)) is not None
        ]
        self._by_type = [(order, rule) for order, rule in enumerate(rules) if rule.type]
        self._by_class = [(order, rule) for order, rule in enumerate(rules) if rule.classification]
        self._detectors = [
            (detector, winner)
            for detector in DETECTORS
            if (winner := strongest([rule for rule in rules if detector.name in rule.detector])) is not None
        ]
        self._fields = FieldReader()
        # Short texts that were found clean, and what keys mean: names of nodes, events and fields come again and again.
        self._clean: set[str] = set()
        self._keys: dict[str, list[tuple[int, Rule]]] = {}

    # ---- texts ----------------------------------------------------------------------------------------------------

    def text(self, text: str) -> str:
        """Return what may be shown of one text, at most `MAX_TEXT` characters and a note of it; the same object if clean."""
        if text in self._clean or (len(text) == _UUID_LENGTH and pattern("uuid").match(text) is not None):
            return text
        if len(text) > MAX_TEXT:
            found = self._find(text[: MAX_TEXT + _LOOKAHEAD])
            shown = self._replace(text[:MAX_TEXT], [each for each in found if each[0] < MAX_TEXT])
            return f"{shown}{CUT} [cut: {len(text) - MAX_TEXT} characters]"
        found = self._find(text)
        if found:
            return self._replace(text, found)
        if len(text) <= _MAX_REMEMBERED_LENGTH:
            if len(self._clean) >= _MAX_REMEMBERED:
                self._clean = set()
            self._clean.add(text)
        return text

    def document(self, text: str) -> str:
        """Return what may be shown of a text of any length, such as a log file; nothing is cut."""
        return self._replace(text, self._find(text))

    def document_bytes(self, data: bytes) -> bytes:
        """Return what may be shown of a file: text in UTF-8 or UTF-16; other bytes are taken for Latin-1."""
        if data.count(0) * 4 >= len(data) > 0:
            for encoding in ("utf-16-le", "utf-16-be"):
                try:
                    text = data.decode(encoding)
                except UnicodeDecodeError:
                    continue
                if sum(c < "\x7f" for c in text) * 2 > len(text):
                    return self.document(text).encode(encoding)
        try:
            return self.document(data.decode("utf-8")).encode("utf-8")
        except UnicodeDecodeError:
            # Placeholders are ASCII; the cut sign isn't, and documents aren't cut.
            return self.document(data.decode("latin-1")).encode("latin-1", "replace")

    def _find(self, text: str, depth: int = 0) -> list[_Found]:
        """Return all spans that rules apply to; the flag says that a span was read as it stands."""
        lower = text.lower()
        has_digit = pattern("digit").search(text) is not None
        # Escapes of line feeds stand where a boundary should be.
        plain = pattern("blank_escape").sub(_blanks, text) if "\\" in text else text
        found: list[_Found] = []
        for detector, rule in self._detectors:
            if detector.may_find(lower, has_digit):
                found += ((begin, end, rule, True) for begin, end in detector.find(plain))
        if depth < MAX_DEPTH:
            here = sorted(found, key=itemgetter(0))
            begins = [each[0] for each in here]
            for begin, end, said in encoded_parts(text):
                within = self._find(said, depth + 1)
                # Decoding a text that has plain parts finds those again.
                known = [each[2] for each in here[bisect_left(begins, begin) : bisect_left(begins, end)]]
                if len(within) > len(known) or any(rule not in known for _, _, rule, _ in within):
                    found.append((begin, end, within[0][2], False))
        return found

    def _replace(self, text: str, found: list[_Found]) -> str:
        if not found:
            return text
        parts: list[str] = []
        at = 0
        for begin, end, rule, whole in _merged(found):
            parts.append(text[at:begin])
            parts.append(self._acted(rule, text[begin:end]) if whole else placeholder(rule))
            self.counts.add(rule.name)
            at = end
        parts.append(text[at:])
        return "".join(parts)

    def _acted(self, rule: Rule, text: str) -> str:
        return act(rule, text, self.policy.salt)

    # ---- exceptions -------------------------------------------------------------------------------------------------

    def describe(self, exc: BaseException) -> ErrorDescription:
        """Describe an exception without its payload; never raises, whatever the exception is made of."""
        cls = type(exc)
        return ErrorDescription(
            type=class_name(cls), where=place_of(_TRACEBACK.__get__(exc)), message=self._message(exc, cls)
        )

    def _message(self, exc: BaseException, cls: type) -> str:
        if not (self._shows_errors or is_payload_free(cls)):
            return REDACTED
        try:
            # `str.__str__` turns a subclass of str, which may bring methods of its own, into a plain one.
            return clean_lines(self.text(str.__str__(str(exc))))
        except Exception:  # noqa: BLE001  # a stranger's __str__ may raise anything
            return UNPRINTABLE

    # ---- values ---------------------------------------------------------------------------------------------------

    def payload(self, value: object) -> object:
        """Return what may be shown of a payload: the name of its type, unless the policy exposes payloads."""
        return self.data(value) if self._shows_payloads else type_name(value)

    def data(self, value: object, *, max_items: int | None = MAX_ITEMS) -> object:
        """Return what may be shown of a record as plain data: dicts, lists, texts, numbers; never raises.

        Args:
            value: Anything; its contents count as payload only where it is an object or bytes.
            max_items: Most items of all containers together; ``None`` where the caller has bounded them.
        """
        return _Walk(self, max_items).value(value, ())

    def rule_for(
        self,
        value: object,
        path: tuple[Step, ...],
        keys: tuple[str, ...],
        classification: Classification | None = None,
    ) -> Rule | None:
        """Return the rule for a value as a whole, or ``None``.

        Args:
            value: The value; only its type is looked at.
            path: Where it stands, with names as `parse_path` makes them.
            keys: The key it stands under; none for items of a list.
            classification: What its field was declared to be.
        """
        matching: list[tuple[int, Rule]] = []
        for key in keys:
            matching += self._rules_of_key(key)
        if self._by_path:
            matching += [(order, rule) for order, rule, steps in self._by_path if path_matches(steps, path)]
        if self._by_type:
            names = {class_name(cls) for cls in cast("tuple[type, ...]", _MRO.__get__(type(value)))}
            matching += [(order, rule) for order, rule in self._by_type if names & set(rule.type)]
        if classification is not None:
            matching += [
                (order, rule) for order, rule in self._by_class if classification in rule.classification
            ]
        if not matching:
            return None
        return strongest([rule for _, rule in sorted(matching, key=lambda each: each[0])])

    def _rules_of_key(self, key: str) -> list[tuple[int, Rule]]:
        known = self._keys.get(key)
        if known is None:
            known = [each for ending in endings_of(key) for each in self._by_key.get(ending, ())]
            if len(self._keys) >= _MAX_REMEMBERED:
                self._keys = {}
            if len(key) <= _MAX_REMEMBERED_LENGTH:
                self._keys[key] = known
        return known


_MRO: Any = type.__dict__["__mro__"]


def _blanks(found: re.Match[str]) -> str:
    return " " * len(found[0])


def _merged(found: list[_Found]) -> Iterable[_Found]:
    """Yield spans that don't overlap. Of those that do, the strongest action wins for all of them together."""
    group: list[_Found] = []
    end = -1
    for each in sorted(found, key=lambda one: (one[0], -one[1])):
        if group and each[0] >= end:
            yield _union(group, end)
            group = []
        end = max(end, each[1]) if group else each[1]
        group.append(each)
    yield _union(group, end)


def _union(group: list[_Found], end: int) -> _Found:
    begin = group[0][0]
    winner = min(group, key=lambda each: each[2].strength)
    # Only what was found exactly so can be masked or generalised; the rest is dropped.
    return begin, end, winner[2], winner[3] and winner[:2] == (begin, end)


class _Walk:
    """One pass over one value."""

    __slots__ = ("_left", "_open", "_redactor")

    def __init__(self, redactor: Redactor, max_items: int | None) -> None:
        self._redactor = redactor
        self._left = max_items
        self._open: set[int] = set()  # containers that this one lies in

    def value(
        self,
        value: object,
        path: tuple[Step, ...],
        keys: tuple[str, ...] = (),
        classification: Classification | None = None,
    ) -> object:
        redactor = self._redactor
        rule = redactor.rule_for(value, path, keys, classification)
        if rule is not None:
            redactor.counts.add(rule.name)
            text = _text_of(value)
            return placeholder(rule) if text is None else redactor.text(redactor._acted(rule, text))
        cls = type(value)
        if value is None or cls is bool:
            return value
        if isinstance_of(cls, str):
            return redactor.text(str.__str__(cast("str", value)))
        if isinstance_of(cls, int):
            return self._number(int.__index__(cast("int", value)))
        if isinstance_of(cls, float):
            return self._number(float.__float__(cast("float", value)))
        return self._container(value, cls, path)

    def _number(self, value: float) -> object:
        # Cards and phones are at times kept as numbers; smaller ones can't be any.
        if not 1e11 < value < 1e20 or value != int(value):
            return value
        text = str(int(value))
        shown = self._redactor.text(text)
        return value if shown == text else shown

    def _container(self, value: object, cls: type, path: tuple[Step, ...]) -> object:
        read = self._reader(value, cls)
        if read is None:
            return self._object(value, cls)
        if id(value) in self._open or len(self._open) >= MAX_NESTING:
            return type_name(value)
        self._open.add(id(value))
        try:
            return read(value, path)
        except Exception:  # noqa: BLE001  # it changed while it was read
            return type_name(value)
        finally:
            self._open.discard(id(value))

    def _reader(self, value: object, cls: type) -> Callable[[Any, tuple[Step, ...]], object] | None:
        redactor = self._redactor
        if isinstance_of(cls, dict):
            return self._dict
        if isinstance_of(cls, list) or isinstance_of(cls, tuple):
            return self._named_tuple if redactor._fields.is_named_tuple(cls) else self._list
        if isinstance_of(cls, BaseException):
            return self._exception if redactor._shows_errors else None
        if redactor._shows_payloads:
            if isinstance_of(cls, set) or isinstance_of(cls, frozenset) or isinstance_of(cls, deque):
                return self._unordered
            if cls in (bytes, bytearray):
                return self._bytes
            if redactor._fields.has_fields(cls):
                return self._record
        return None

    def _object(self, value: object, cls: type) -> object:
        if not self._redactor._shows_reprs:
            return type_name(value)
        try:
            return self._redactor.text(str.__str__(repr(value)))
        except Exception:  # noqa: BLE001  # a stranger's code
            return type_name(value)

    def _dict(self, value: dict[object, object], path: tuple[Step, ...]) -> object:
        return self._items(
            ((key, each, None) for key, each in list(dict.items(value))), dict.__len__(value), path
        )

    def _record(self, value: object, path: tuple[Step, ...]) -> object:
        fields = self._redactor._fields.read(value)
        return self._items(fields, len(fields), path)

    def _named_tuple(self, value: tuple[object, ...], path: tuple[Step, ...]) -> object:
        fields = self._redactor._fields.read_named_tuple(value)
        return self._items(fields, len(fields), path)

    def _items(
        self,
        items: Iterable[tuple[object, object, Classification | None]],
        size: int,
        path: tuple[Step, ...],
    ) -> dict[str, object]:
        made: dict[str, object] = {}
        for done, (key, each, classification) in enumerate(items):
            if not self._may_go_on():
                made[_free(CUT, made)] = f"{size - done} more"
                break
            if isinstance_of(type(key), str):
                name = str.__str__(cast("str", key))
                shown = self._redactor.text(name)
                step = "".join(words_of(name)) or name if self._redactor._by_path else ""
                made[_free(shown, made)] = self.value(each, (*path, step), (name,), classification)
            else:
                plain = key is None or type(key) in (bool, int, float)
                shown = str(self.value(key, ())) if plain else type_name(key)
                made[_free(shown, made)] = self.value(each, (*path, shown), (), classification)
        return made

    def _list(self, value: Any, path: tuple[Step, ...]) -> object:
        items = (
            list(list.__iter__(value)) if isinstance_of(type(value), list) else list(tuple.__iter__(value))
        )
        made: list[object] = []
        for index, each in enumerate(items):
            if not self._may_go_on():
                made.append(f"{CUT} {len(items) - index} more")
                break
            made.append(self.value(each, (*path, index)))
        return made

    def _unordered(self, value: Any, path: tuple[Step, ...]) -> object:
        if isinstance_of(type(value), deque):
            return self._list(list(deque.__iter__(value)), path)
        own = set if isinstance_of(type(value), set) else frozenset
        shown = self._list(list(own.__iter__(value)), path)
        return sorted(cast("list[object]", shown), key=lambda each: (type(each).__name__, str(each)))

    def _bytes(self, value: bytes | bytearray, path: tuple[Step, ...]) -> object:
        shown = self._redactor.document_bytes(bytes(value[: MAX_TEXT + _LOOKAHEAD]))
        return self._redactor.text(shown.decode("utf-8", "backslashreplace"))

    def _exception(self, value: BaseException, path: tuple[Step, ...]) -> object:
        """Return an exception with its notes, its group and its chain, each as `Redactor.describe` has it."""
        told = self._redactor.describe(value)
        made: dict[str, object] = {"type": told.type, "where": told.where, "message": told.message}
        notes = self._redactor._fields.stored(value).get("__notes__")
        if isinstance(notes, list):
            made["notes"] = self.value(notes, path)
        if isinstance_of(type(value), BaseExceptionGroup):
            made["errors"] = self._list(_GROUPED.__get__(value), path)
        cause, context = _CAUSE.__get__(value), _CONTEXT.__get__(value)
        if cause is not None:
            made["cause"] = self.value(cause, path)
        elif context is not None and not _SUPPRESS.__get__(value):
            made["context"] = self.value(context, path)
        return made

    def _may_go_on(self) -> bool:
        if self._left is None:
            return True
        self._left -= 1
        return self._left >= 0


def isinstance_of(cls: type, base: type) -> bool:
    """Return whether a real class derives from ``base``; an object's own ``__class__`` may lie."""
    return base in cast("tuple[type, ...]", _MRO.__get__(cls))


def _free(key: str, taken: dict[str, object]) -> str:
    """Return the key, numbered if another became the same."""
    free, number = key, 2
    while free in taken:
        free, number = f"{key}#{number}", number + 1
    return free


def _text_of(value: object) -> str | None:
    """Return the text of a plain value for an action on the whole of it; ``None`` for anything else."""
    if type(value) in (str, int, float, bool):
        return str(value) if type(value) is not int or value.bit_length() < 256 else None
    if module_name(type(value)) == "datetime":
        from datetime import date, datetime

        if type(value) in (date, datetime):
            return cast("date", value).isoformat()
    return None
