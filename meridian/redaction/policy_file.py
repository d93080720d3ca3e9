"""Reads a policy from TOML, and says in which line it is wrong.

`tomllib` reads; it says where a file isn't TOML, but not where a value stood. So a second, simple pass over a file that is
known to be TOML finds the lines of all keys.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from meridian.redaction.names import clean, type_name
from meridian.redaction.policy import (
    DETECTOR_NAMES,
    MATCHERS,
    Exposed,
    Policy,
    PolicyError,
    check_exposed,
    check_rule,
    nearest,
)
from meridian.redaction.vocabulary import (
    ACTIONS,
    Action,
    Classification,
    Drop,
    Generalise,
    Hash,
    Mask,
    Rule,
    Truncate,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

KeyPath = tuple[str | int, ...]

POLICY_KEYS = ("name", "salt", "salt_env", "rule", "expose")
EXPOSED_KEYS = ("what", "reason")
PARAMETERS: dict[str, type[Action]] = {"keep": Mask, "bucket": Generalise, "length": Truncate}
RULE_KEYS = ("name", *MATCHERS, "action", *PARAMETERS)
CLASSIFICATIONS = tuple(each.value for each in Classification)
ACTION_WORDS = tuple(action.word for action in ACTIONS)

_MAX_BYTES = 1_000_000


def load(path: str | os.PathLike[str]) -> Policy:
    """Read a policy; see `Policy.load`."""
    import tomllib

    file = clean(Path(path).name)
    with open(path, "rb") as stream:
        data = stream.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise PolicyError(f"is larger than {_MAX_BYTES:,} bytes", file=file)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PolicyError("isn't UTF-8", file=file, line=line) from None
    text = text.replace("\r\n", "\n")
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = re.search(r"\(at line (\d+)", str(error))
        line = int(said[1]) if said else max(text.count("\n"), 1)
        raise PolicyError(f"isn't TOML: {str(error).partition(' (at ')[0]}", file=file, line=line) from None
    return _Reader(file, lines_of(text)).policy(content)


class _Reader:
    """Turns the content of a file into a policy."""

    def __init__(self, file: str, lines: Mapping[KeyPath, int]) -> None:
        self._file = file
        self._lines = lines

    def wrong(self, path: KeyPath, text: str, near: str | None = None) -> PolicyError:
        while path and path not in self._lines:
            path = path[:-1]
        return PolicyError(text, file=self._file, line=self._lines.get(path, 1), nearest=near)

    @contextmanager
    def located(self, at: KeyPath) -> Generator[None]:
        """Say of a mistake in a rule or exposure in which line it stands."""
        try:
            yield
        except PolicyError as error:
            path = at if error.key is None else (*at, error.key)
            raise self.wrong(path, error.said, error.nearest) from None

    def policy(self, content: dict[str, Any]) -> Policy:
        self.keys((), content, POLICY_KEYS, "policy")
        salt = self.salt(content)
        rules: list[Rule] = []
        for index, table in enumerate(self.tables(content, "rule")):
            taken = {rule.name for rule in rules}
            rules.append(self.rule(("rule", index), table, taken, salted=bool(salt)))
        exposed = tuple(
            self.exposed(("expose", index), table)
            for index, table in enumerate(self.tables(content, "expose"))
        )
        name = self.text((), content, "name", "policy") if "name" in content else Path(self._file).stem
        return Policy(name, tuple(rules), exposed, salt)

    def keys(self, at: KeyPath, table: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
        for key in table:
            if key not in known:
                raise self.wrong((*at, key), f"unknown key {clean(key)!r} in {what}", nearest(key, known))

    def tables(self, content: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
        found: object = content.get(key, [])
        if isinstance(found, list):
            for index, table in enumerate(cast("list[object]", found)):
                if not isinstance(table, dict):
                    raise self.wrong(
                        (key, index), f"{key} {index + 1} must be a table, not {type_name(table)}"
                    )
            return cast("list[dict[str, Any]]", found)
        raise self.wrong((key,), f"{key!r} must be an array of tables, [[{key}]], not {type_name(found)}")

    def text(self, at: KeyPath, table: Mapping[str, Any], key: str, what: str) -> str:
        if key not in table:
            raise self.wrong(at, f"{what} lacks the key {key!r}")
        value: object = table[key]
        if not isinstance(value, str):
            raise self.wrong((*at, key), f"{key!r} in {what} must be a string, not {type_name(value)}")
        return value

    def texts(self, at: KeyPath, table: Mapping[str, Any], key: str, what: str) -> tuple[str, ...]:
        value: object = table.get(key, [])
        if isinstance(value, str):
            return (value,)
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            return tuple(cast("list[str]", value))
        raise self.wrong((*at, key), f"{key!r} in {what} must be a string or an array of strings")

    def known(
        self, at: KeyPath, table: Mapping[str, Any], key: str, known: tuple[str, ...], what: str
    ) -> None:
        for index, word in enumerate(self.texts(at, table, key, what)):
            if word not in known:
                text = f"unknown {key} {clean(word)!r} in {what}"
                raise self.wrong((*at, key, index), text, nearest(word, known))

    def salt(self, content: Mapping[str, Any]) -> bytes:
        salt = self.text((), content, "salt", "policy") if "salt" in content else ""
        if "salt_env" in content:
            variable = self.text((), content, "salt_env", "policy")
            salt = os.environ.get(variable, "")
            if not salt:
                raise self.wrong(("salt_env",), f"the environment has no variable {clean(variable)!r}")
        with self.located(("salt_env",) if "salt_env" in content else ("salt",)):
            return Policy(salt=salt.encode()).salt

    def rule(self, at: KeyPath, table: dict[str, Any], taken: set[str], *, salted: bool) -> Rule:
        what = f"rule {cast('int', at[1]) + 1}"
        if isinstance(table.get("name"), str):
            what = f"rule {clean(table['name'], 64)!r}"
        self.keys(at, table, RULE_KEYS, what)
        self.known(at, table, "classification", CLASSIFICATIONS, what)
        self.known(at, table, "detector", DETECTOR_NAMES, what)
        rule = Rule(
            self.text(at, table, "name", what),
            self.action(at, table, what),
            key=self.texts(at, table, "key", what),
            path=self.texts(at, table, "path", what),
            type=self.texts(at, table, "type", what),
            detector=self.texts(at, table, "detector", what),
            classification=tuple(map(Classification, self.texts(at, table, "classification", what))),
        )
        with self.located(at):
            check_rule(rule, taken, salted=salted)
        return rule

    def action(self, at: KeyPath, table: dict[str, Any], what: str) -> Action:
        word = self.text(at, table, "action", what)
        if word not in ACTION_WORDS:
            raise self.wrong(
                (*at, "action"), f"unknown action {clean(word)!r} in {what}", nearest(word, ACTION_WORDS)
            )
        for parameter, action in PARAMETERS.items():
            if parameter not in table:
                continue
            if action.word != word:
                raise self.wrong((*at, parameter), f"{parameter!r} in {what} belongs to {action.word!r}")
            value: object = table[parameter]
            number = (int, float) if parameter == "bucket" else (int,)
            if isinstance(value, bool) or not isinstance(value, number):
                raise self.wrong(
                    (*at, parameter), f"{parameter!r} in {what} must be a number, not {type_name(value)}"
                )
        match word:
            case "hash":
                return Hash()
            case "mask":
                return Mask(table.get("keep", 0))
            case "generalise":
                return Generalise(table.get("bucket", 0))
            case "truncate":
                return Truncate(table.get("length", 32))
            case _:
                return Drop()

    def exposed(self, at: KeyPath, table: dict[str, Any]) -> Exposed:
        what = f"exposure {cast('int', at[1]) + 1}"
        self.keys(at, table, EXPOSED_KEYS, what)
        made = Exposed(self.text(at, table, "what", what), self.text(at, table, "reason", what))
        with self.located(at):
            check_exposed(made)
        return made


# --- lines -------------------------------------------------------------------------------------------------------------

_SPACE = re.compile(r"(?:[ \t\n]|#[^\n]*+)*+")
_BARE_VALUE = re.compile(r"[^,\]}\n#]*+")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*+"{3,5}'
    r"|'''(?:[^']|'(?!''))*+'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*+"'
    r"|'[^'\n]*+'",
    re.DOTALL,
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def lines_of(text: str) -> dict[KeyPath, int]:
    """Return in which line each key of a TOML text stands, tables and positions of arrays included.

    Args:
        text: What `tomllib` has accepted, with line feeds alone.
    """
    return _Lines(text).found


class _Lines:
    """One pass over a text that is known to be TOML."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self.found: dict[KeyPath, int] = {}
        self._counts: dict[KeyPath, int] = {}  # tables in each array of tables
        table: KeyPath = ()
        while self._skip():
            if self._take("[["):
                table = self._resolved(self._key())
                index = self._counts[table] = self._counts.get(table, -1) + 1
                table = (*table, index)
                self._note(table)
                self._expect("]]")
            elif self._take("["):
                table = self._resolved(self._key())
                self._note(table)
                self._expect("]")
            else:
                self._pair(table)

    def _skip(self) -> bool:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found is not None else self._at
        return self._at < len(self._text)

    def _take(self, token: str) -> bool:
        self._skip()
        if not self._text.startswith(token, self._at):
            return False
        self._at += len(token)
        return True

    def _expect(self, token: str) -> None:
        taken = self._take(token)
        assert taken, "this was TOML"

    def _note(self, path: KeyPath) -> None:
        self.found.setdefault(path, self._text.count("\n", 0, self._at) + 1)

    def _resolved(self, keys: KeyPath) -> KeyPath:
        path: KeyPath = ()
        for at, key in enumerate(keys):
            path = (*path, key)
            if path in self._counts and at < len(keys) - 1:
                path = (*path, self._counts[path])
        return path

    def _key(self) -> KeyPath:
        keys: list[str | int] = []
        while True:
            self._skip()
            quoted = _STRING.match(self._text, self._at)
            found = quoted or _BARE_KEY.match(self._text, self._at)
            assert found is not None, "this was TOML"
            keys.append(_unquoted(found[0]) if quoted else found[0])
            self._at = found.end()
            if not self._take("."):
                return tuple(keys)

    def _pair(self, table: KeyPath) -> None:
        self._skip()
        start = self._at
        path = (*table, *self._key())
        self.found.setdefault(path, self._text.count("\n", 0, start) + 1)
        self._expect("=")
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        self._skip()
        self._note(path)
        if self._take("["):
            index = 0
            while not self._take("]"):
                self._value((*path, index))
                index += 1
                self._take(",")
        elif self._take("{"):
            while not self._take("}"):
                self._pair(path)
                self._take(",")
        else:
            found = _STRING.match(self._text, self._at) or _BARE_VALUE.match(self._text, self._at)
            assert found is not None, "this was TOML"
            self._at = found.end()


def _unquoted(key: str) -> str:
    import tomllib

    return next(iter(tomllib.loads(f"{key} = 0")))
