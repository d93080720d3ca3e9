"""Makes broken wheels of a good one of meridian-fast, of the kinds that users end up with.

    ci/broken_wheels.py WHEEL DIR

DIR gets a folder for each kind with one wheel in it: `version` (of another one), `cut` (half of the library is missing)
and `raises` (its import does). Each installs like any other.
"""

import base64
import hashlib
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

OTHER_VERSION = "1.9.9"

Files = dict[str, bytes]


def other_version(files: Files) -> Files:
    """Say another version in the metadata and in the module."""
    changed = {
        re.sub(r"^(meridian_fast-)[^/]+(\.dist-info/)", rf"\g<1>{OTHER_VERSION}\2", name): content
        for name, content in files.items()
    }
    metadata = f"meridian_fast-{OTHER_VERSION}.dist-info/METADATA"
    changed[metadata] = re.sub(
        rb"^Version: .*$",
        f"Version: {OTHER_VERSION}".encode(),
        changed[metadata],
        count=1,
        flags=re.MULTILINE,
    )
    changed["meridian_fast/__init__.py"] += f'\n__version__ = "{OTHER_VERSION}"\n'.encode()
    return changed


def cut(files: Files) -> Files:
    """Leave half of the library, as an interrupted copy does."""
    return {
        name: content[: len(content) // 2] if name.endswith(".so") else content
        for name, content in files.items()
    }


def raises(files: Files) -> Files:
    """Raise when imported."""
    return {**files, "meridian_fast/__init__.py": b'raise ImportError("undefined symbol: made_up")\n'}


KINDS: dict[str, Callable[[Files], Files]] = {"version": other_version, "cut": cut, "raises": raises}


def write(files: Files, wheel: Path) -> None:
    """Write a wheel, with a RECORD of what is in it."""
    (record,) = (name for name in files if name.endswith(".dist-info/RECORD"))
    lines = [f"{record},,"]
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            if name != record:
                archive.writestr(name, content)
                digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                lines.append(f"{name},sha256={digest},{len(content)}")
        archive.writestr(record, "\n".join([*lines, ""]))


def main(good: Path, out: Path) -> None:
    """Make one wheel of each kind."""
    with zipfile.ZipFile(good) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    for kind, spoil in KINDS.items():
        name = good.name
        if kind == "version":
            name = re.sub(r"^(meridian_fast-)[^-]+", rf"\g<1>{OTHER_VERSION}", name)
        (out / kind).mkdir(parents=True)
        write(spoil(files), out / kind / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
