"""What may stand in a bundle: every text goes through here.

First what names the machine and its owner is made anonymous, then the redaction policy in force has its say, with counts of
its own. What was redacted earlier, in the process itself, is recognised by its placeholder and counted too.
"""

from __future__ import annotations

import os
import re
import site
import sys
import sysconfig
from collections import Counter
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from meridian.redaction import Redactor, redactor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from meridian.redaction import Policy

GENERIC_NAMES = frozenset(
    (
        "admin",
        "app",
        "build",
        "daemon",
        "debian",
        "default",
        "docker",
        "ec2-user",
        "guest",
        "jenkins",
        "localdomain",
        "localhost",
        "meridian",
        "node",
        "nobody",
        "root",
        "runner",
        "server",
        "service",
        "test",
        "ubuntu",
        "user",
        "vagrant",
        "vscode",
        "worker",
        "www-data",
    )
)
"""Names of users and hosts that tell nothing, and may be words of a graph."""

_PLACEHOLDER = re.compile(r"\[redacted(?::([^\]\s]{1,64}))?\]")
_OTHER_PATH = re.compile(r"(?<![\w<>.:/~-])/(?:[^\s/'\"`:,;()<>\[\]|=]+/)+")
"""The folders of an absolute path that none of the known places holds."""


class Scrub:
    """Makes texts fit for a bundle, and counts what it took away.

    Args:
        places: Folders by what stands for them, besides those that every machine has: such as ``{"<cwd>": "/srv/shop"}``.
    """

    def __init__(self, places: Mapping[str, str] | None = None) -> None:
        self._told = Redactor(redactor().policy)
        self._counts: Counter[str] = Counter()
        self._clean: set[str] = set()
        known = {**machine_places(), **{path: name for name, path in (places or {}).items()}}
        self._places = {path: name for path, name in known.items() if len(path) > 1}
        self._place = _any_of(self._places, r"(?<![\w.-])(?:{})(?![\w.-])")
        self._hosts = _any_of(host_names(), r"(?i)(?<![A-Za-z0-9])(?:{})(?![A-Za-z0-9])")
        self._users = _any_of(user_names(), r"(?<![A-Za-z0-9])(?:{})(?![A-Za-z0-9])")

    @property
    def policy(self) -> Policy:
        """The redaction policy it goes by."""
        return self._told.policy

    def text(self, text: str) -> str:
        """Return what may be shown of a line; a long one is cut, which is said."""
        if text in self._clean:
            return text
        shown = self._told.text(self._anonymous(text))
        if shown == text and len(text) <= 300 and "[redacted" not in text:  # those are counted each time
            self._clean.add(text)
        return shown

    def document(self, text: str) -> str:
        """Return what may be shown of a text of any length; nothing is cut."""
        return self._told.document(self._anonymous(text))

    def record(self, record: Any) -> Any:
        """Return what may be shown of JSON that somebody else made up: rules for keys hold, too."""
        return self._told.data(self._walk(record), max_items=None)

    def plain(self, value: Any) -> Any:
        """Return a value made of our own dataclasses as plain data: the fields that are declared, and no others."""
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, (tuple, list)):
            items: list[Any] = list(value)
            return [self.plain(each) for each in items]
        if isinstance(value, dict):
            table: dict[Any, Any] = value
            return {self.text(str(key)): self.plain(each) for key, each in table.items()}
        if is_dataclass(value):
            return {each.name: self.plain(getattr(value, each.name)) for each in fields(value)}
        raise TypeError(f"a {type(value).__name__} has no place in a bundle")

    def counts(self) -> dict[str, int]:
        """Return how often each rule was applied, by name."""
        return dict(sorted((self._counts + Counter(self._told.counts.read())).items()))

    def _walk(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._anonymous(value)
        if isinstance(value, list):
            items: list[Any] = value
            return [self._walk(each) for each in items]
        if isinstance(value, dict):
            table: dict[str, Any] = value
            return {self._anonymous(key): self._walk(each) for key, each in table.items()}
        return value

    def _anonymous(self, text: str) -> str:
        for rule in _PLACEHOLDER.findall(text):
            self._counts[rule or "error_message"] += 1
        if "/" in text or "\\" in text:
            text = self._replace(self._place, lambda found: self._places[found[0]], text, "path")
            text = self._replace(_OTHER_PATH, lambda _: "<path>/", text, "path")
        text = self._replace(self._hosts, lambda _: "<host>", text, "host_name")
        return self._replace(self._users, lambda _: "<user>", text, "user_name")

    def _replace(self, pattern: re.Pattern[str] | None, by: Any, text: str, rule: str) -> str:
        if pattern is None:
            return text
        text, n = pattern.subn(by, text)
        if n:
            self._counts[rule] += n
        return text


def machine_places() -> dict[str, str]:
    """Return what stands for the folders that a machine has, by folder."""
    made: dict[str, str] = {}
    for folder, name in (
        (os.environ.get("TMPDIR", ""), "<tmp>"),
        ("/tmp", "<tmp>"),  # noqa: S108 - a name to recognise; nothing is written there
        (os.environ.get("XDG_RUNTIME_DIR", ""), "<run>"),
        (os.path.expanduser("~"), "<home>"),
        (sys.base_prefix, "<python>"),
        (sys.prefix, "<python>"),
        (sysconfig.get_path("stdlib"), "<python>"),
        *((each, "<site-packages>") for each in (*site.getsitepackages(), sysconfig.get_path("purelib"))),
    ):
        for each in {folder, os.path.realpath(folder)} if os.path.isabs(folder) else set[str]():
            made[each.rstrip("/\\")] = name
    return made


def user_names() -> set[str]:
    """Return what the owner of this process is called, where that tells who it is."""
    found = {os.environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME", "SUDO_USER")}
    try:
        import pwd

        entry = pwd.getpwuid(os.getuid())
        found |= {entry.pw_name, entry.pw_gecos.partition(",")[0]}
    except (ImportError, KeyError):  # no such thing here, or a user without a name
        pass
    return _telling(found)


def host_names() -> set[str]:
    """Return what this machine is called, where that tells which it is."""
    import platform

    node = platform.node()
    return _telling({node, node.partition(".")[0], os.environ.get("HOSTNAME", "")})


def _telling(names: set[str]) -> set[str]:
    return {name for name in names if len(name) >= 3 and name.lower() not in GENERIC_NAMES}


def _any_of(texts: Iterable[str], form: str) -> re.Pattern[str] | None:
    """Return a pattern for any of some texts, the longest first."""
    parts = [re.escape(each) for each in sorted(texts, key=lambda each: (-len(each), each))]
    return re.compile(form.format("|".join(parts))) if parts else None
