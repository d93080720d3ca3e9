"""Reading a bundle that may come from anybody: checked before it is believed, and never unpacked to disk."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

from meridian.diagnostics.errors import BundleError
from meridian.diagnostics.manifest import KNOWN, MANIFEST, SCHEMA_VERSION, Manifest

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

MAX_FILE = 256 * 1024 * 1024
"""Most bytes of a bundle, and of all its members together."""

MAX_MEMBER = 128 * 1024 * 1024
"""Most bytes of one member."""

MAX_MEMBERS = 64
"""Most members of a bundle."""

_MAX_MANIFEST = 1024 * 1024
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}\.[a-z]{1,8}")
_STEP = 64 * 1024
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    OverflowError,
)
"""What `zipfile` raises over a file that is none, or is damaged, encrypted or compressed in other ways."""


class Bundle:
    """A bundle that was checked.

    Attributes:
        manifest: What it says about itself.
    """

    def __init__(self, manifest: Manifest, members: Mapping[str, bytes]) -> None:
        self.manifest = manifest
        self._members = members

    def member(self, name: str) -> bytes:
        """Return a member as it is.

        Raises:
            KeyError: there is none of that name.
        """
        return self._members[name]

    def data(self, name: str) -> Any:
        """Return what a member in JSON says, or ``None`` if there is none of that name.

        Raises:
            BundleError: it is no JSON.
        """
        if name not in self._members:
            return None
        return _parsed(name, self._members[name])


def open_bundle(place: str | os.PathLike[str]) -> Bundle:
    """Read a bundle and check it: the zip file, the names and sizes of members, the manifest, each hash.

    Raises:
        BundleError: something is wrong; it names the first member that is.
        OSError: the file can't be read.
    """
    with open(place, "rb") as file:
        content = file.read(MAX_FILE + 1)
    return read_bundle(content)


def read_bundle(content: bytes) -> Bundle:
    """Check a bundle as `open_bundle` does, from its bytes.

    Raises:
        BundleError: something is wrong.
    """
    if len(content) > MAX_FILE:
        raise BundleError(f"it is longer than {MAX_FILE:,} bytes, which no bundle is")
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except _BROKEN:
        raise BundleError("it is no zip file, or a damaged one") from None
    with archive:
        infos = archive.infolist()
        _check_names(infos, archive.comment)
        members: dict[str, bytes] = {}
        left = MAX_FILE
        for info in infos:
            most = min(_MAX_MANIFEST if info.filename == MANIFEST else MAX_MEMBER, left)
            members[info.filename] = _content(archive, info, most)
            left -= len(members[info.filename])
    manifest = Manifest.from_dict(_parsed(MANIFEST, members[MANIFEST]))
    _check_members(manifest, members)
    return Bundle(manifest, members)


def _check_names(infos: list[zipfile.ZipInfo], comment: bytes) -> None:
    if len(infos) > MAX_MEMBERS:
        raise BundleError(f"it has {len(infos):,} members, and no bundle has more than {MAX_MEMBERS}")
    seen: set[str] = set()
    for info in infos:
        name = info.orig_filename
        # Plain names only: none leads out of a folder, whoever unpacks it, on whichever system.
        if not _NAME.fullmatch(name):
            raise BundleError(f"member {_shown(name)} is none that a bundle may have", _shown(name))
        if name in seen:
            raise BundleError(f"member {name} is there twice", name)
        seen.add(name)
    if not infos or infos[0].filename != MANIFEST:
        raise BundleError(f"its first member isn't {MANIFEST}", MANIFEST)
    if infos[0].header_offset != 0 or comment:
        raise BundleError("there is something before the first member, or a comment")


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    """Return the bytes of a member; what a header says of its size isn't believed."""
    name, read = info.filename, bytearray()
    if info.flag_bits & 1:
        raise BundleError(f"member {name} is encrypted", name)
    try:
        with archive.open(info) as member:
            while step := member.read(_STEP):
                read += step
                if len(read) > most:
                    raise BundleError(f"member {name} is longer than it may be", name)
    except _BROKEN:
        raise BundleError(f"member {name} is damaged", name) from None
    return bytes(read)


def _check_members(manifest: Manifest, members: Mapping[str, bytes]) -> None:
    declared = {each.name: each for each in manifest.members}
    if _minor(manifest.schema_version) <= _minor(SCHEMA_VERSION):
        for name in sorted(set(members) - KNOWN):
            raise BundleError(f"member {name} is none that a bundle may have", name)
    for name in sorted(set(members) - set(declared) - {MANIFEST}):
        raise BundleError(f"member {name} isn't in the manifest", name)
    for name, each in declared.items():
        if name not in members:
            raise BundleError(f"member {_shown(name)} is in the manifest and not in the bundle", _shown(name))
        content = members[name]
        if len(content) != each.size:
            raise BundleError(f"member {name} has {len(content):,} bytes instead of {each.size:,}", name)
        if hashlib.sha256(content).hexdigest() != each.sha256:
            raise BundleError(f"member {name} isn't what was packed: its SHA-256 differs", name)


def _minor(version: str) -> int:
    return int(version.partition(".")[2][:9])


def _parsed(name: str, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise BundleError(f"member {name} is no JSON", name) from None


def _shown(name: str) -> str:
    """Return a stranger's name on one line, in quotes and not too long."""
    return ascii(name[:80])
