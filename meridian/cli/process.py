"""Which running process is meant: the one that is named, or the only one that lets itself be looked at.

It is the same for every command that looks at a running process: ``--pid``, ``--socket``, or neither.
"""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

from meridian.cli.codes import Code, CommandError
from meridian.introspect.client import Client, attach
from meridian.introspect.errors import BadAnswerError, IntrospectionError, NoAnswerError
from meridian.introspect.server import is_alive
from meridian.introspect.wire import socket_directory, socket_path

HOW = "start it with meridian run --inspect TARGET, or with MERIDIAN_INSPECT=1"

PATIENCE_S = 5.0
"""So long an answer may take, unless the command line says something else."""


def choose(pid: int | None, path: str | None) -> int | Path:
    """Return the process that is meant, as `attach` takes it: a number, or the path of a socket.

    Args:
        pid: What ``--pid`` says.
        path: What ``--socket`` says.

    Raises:
        CommandError: both are given, or neither and there isn't exactly one.
    """
    if pid is not None and path is not None:
        raise CommandError(f"--pid {pid} and --socket {path} both name a process: give one of them")
    if pid is not None:
        return pid
    if path is not None:
        return Path(path)
    found = inspected()
    if len(found) == 1:
        return found[0]
    if not found:
        raise CommandError(
            f"no process of yours lets itself be looked at: {HOW}. One that was told a place of its own is named by --socket PATH"
        )
    pids = ",".join(map(str, found))
    raise CommandError(
        f"{len(found)} processes let themselves be looked at: say which, {' or '.join(f'--pid {pid}' for pid in found)} "
        f"(ps -o pid,etime,args -p {pids} shows what they are)"
    )


def inspected() -> list[int]:
    """Return the processes of this user that serve a socket at the usual place, by number.

    Raises:
        CommandError: there is no usual place, or it can't be looked into.
    """
    try:
        folder = socket_directory()
    except OSError as error:
        raise _no_place(error) from None
    try:
        names = os.listdir(folder) if folder.lstat().st_uid == os.geteuid() else []
    except FileNotFoundError:  # nobody had a use for it yet
        return []
    except OSError as error:
        raise CommandError(
            f"can't look for processes in {str(folder)!r}: {error.strerror or error}; --socket PATH names one elsewhere"
        ) from None
    pids = sorted(int(named[1]) for name in names if (named := re.fullmatch(r"(\d+)\.sock", name)))
    return [pid for pid in pids if is_alive(pid) and _is_served(socket_path(pid))]


def _no_place(error: OSError) -> CommandError:
    return CommandError(
        f"there is no place for sockets: {error.strerror or error}. Set XDG_RUNTIME_DIR to a folder of yours, or use --socket PATH"
    )


def _is_served(place: Path) -> bool:
    """Say whether somebody listens there; one who can't answer now, does."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(place))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            pass
    return True


def connect(place: int | Path, *, timeout_s: float = PATIENCE_S) -> Client:
    """Connect to a process.

    Raises:
        CommandError: it can't be looked at; says why. Its ``__cause__`` is what `attach` raised.
    """
    try:
        return attach(place, timeout_s=timeout_s)
    except IntrospectionError as error:
        raise refused(error) from error
    except OSError as error:  # where a number would be looked for isn't known
        raise _no_place(error) from error


def refused(error: IntrospectionError) -> CommandError:
    """Return what a command says when a look fails: 1 if the process doesn't answer, 2 if it isn't there to be asked."""
    silent = isinstance(error, (NoAnswerError, BadAnswerError))
    return CommandError(str(error), code=Code.FAILED if silent else Code.USAGE)
