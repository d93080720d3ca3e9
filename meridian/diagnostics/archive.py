"""A bundle as bytes, and as a file: equal members make equal bytes, and a file is there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

from meridian.diagnostics.manifest import MANIFEST

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip file knows: when a member was written is nobody's business."""


def as_json(value: Any) -> bytes:
    """Return plain data as a file: keys sorted, so that equal data makes equal bytes."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    # A lone surrogate, which a file name may have, is no UTF-8.
    return text.encode("utf-8", "backslashreplace") + b"\n"


def pack(members: Mapping[str, bytes]) -> bytes:
    """Return members as a zip file: the manifest first, the others by name, no times, one compression."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in sorted(members, key=lambda each: (each != MANIFEST, each)):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3  # Unix everywhere
            info.external_attr = 0o600 << 16
            archive.writestr(info, members[name], compresslevel=9)
    return made.getvalue()


def write_file(place: Path, data: bytes, *, replace: bool) -> None:
    """Write a file that only its owner may read; a reader sees all of it or nothing.

    Args:
        place: Where.
        data: What.
        replace: Put it in the place of a file that is there.

    Raises:
        FileExistsError: a file is there, and it isn't to be replaced.
        OSError: it can't be written; nothing is left behind.
    """
    number, name = tempfile.mkstemp(prefix=f".{place.name}.", suffix=".part", dir=place.parent)  # mode 0600
    part = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            part.replace(place)
        else:
            _link(part, place)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()


def _link(part: Path, place: Path) -> None:
    """Give a file its name, unless that is taken."""
    try:
        os.link(part, place)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS):
            raise
        # A file system without hard links: look, then rename.
        if place.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(place)) from None
        part.rename(place)
