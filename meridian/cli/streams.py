"""Who owns stdout, and what happens when its reader goes away.

Without ``--json`` stdout belongs to the graph: what its code prints goes there, and nothing else of a run does. With
``--json`` it belongs to the one JSON object, and whatever else is written there ends up on stderr: prints, and where
stdout is the process's own also what subprocesses and C code write to the file descriptor.

A reader that goes away (``| head -1``) is no error of the graph's: what is written from then on vanishes, and a run is
asked to stop.
"""

from __future__ import annotations

import codecs
import errno
import io
import json
import os
import stat
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any, TextIO

import meridian
from meridian.cli.codes import Code, CommandError

VERSION = meridian.__version__

_FULL = {errno.ENOSPC, errno.EFBIG, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC)}
"""What a system says of a file that takes no more; other errors are not stdout's."""


class Pipe(io.FileIO):
    """The writing end of a pipe whose reader may go away.

    Attributes:
        on_broken: Called once when that is noticed, in the thread that wrote.
    """

    def __init__(self, fd: int) -> None:
        super().__init__(fd, "w", closefd=False)
        self.broken = False
        self.on_broken: Callable[[], None] | None = None

    def write(self, data: Any, /) -> int:
        if not self.broken:
            try:
                return super().write(data)
            except BrokenPipeError:
                self.broken = True
                if self.on_broken is not None:
                    self.on_broken()
        return len(data)


def outlive_readers() -> None:
    """Let stdout and stderr, where they are the process's own and pipes, survive readers that go away.

    Where one was closed before the process began, what is written there goes nowhere, instead of to whichever file gets
    its number. What stdout has no characters for, as with ``LC_ALL=C``, is written as an escape, as on stderr.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process
    if sys.stdout is sys.__stdout__:
        sys.stdout = _outliving(sys.stdout)
        if isinstance(sys.stdout, io.TextIOWrapper) and not codecs.lookup(
            sys.stdout.encoding
        ).name.startswith("utf"):
            sys.stdout.reconfigure(errors="backslashreplace")
    if sys.stderr is sys.__stderr__:
        sys.stderr = _outliving(sys.stderr)


def forget_no_width() -> None:
    """Take a terminal of 0 columns or lines for one of unknown size, as everybody else does.

    Rich takes it at its word, and shows nothing.
    """
    for name in ("COLUMNS", "LINES"):
        if os.environ.get(name) == "0":
            del os.environ[name]


def _outliving(stream: Any) -> Any:
    try:
        fd = stream.fileno()
        mode = os.fstat(fd).st_mode
        stream.flush()
    except (AttributeError, OSError, ValueError):  # closed, or no file at all
        return stream
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(Pipe(fd)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


@contextmanager
def when_reader_leaves(call: Callable[[], None]) -> Generator[None]:
    """Call ``call`` if the reader of stdout goes away meanwhile."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if not isinstance(raw, Pipe):
        yield
        return
    raw.on_broken = call
    try:
        yield
    finally:
        raw.on_broken = None


@contextmanager
def output(as_json: bool) -> Generator[TextIO]:
    """Yield where the result of a command goes; with ``as_json`` nothing else can get there.

    Where stdout is the process's own it isn't given back, so that nothing printed at exit follows the object.
    """
    if not as_json:
        yield sys.stdout
        return
    own = sys.stdout is sys.__stdout__ or isinstance(
        getattr(getattr(sys.stdout, "buffer", None), "raw", None), Pipe
    )
    if not own:
        wanted = sys.stdout
        with redirect_stdout(sys.stderr):
            yield wanted
        return
    sys.stdout.flush()
    real = os.dup(sys.stdout.fileno())
    try:
        os.dup2(sys.stderr.fileno(), 1)
    except (AttributeError, OSError, ValueError):  # stderr is closed
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
    else:
        sys.stdout = sys.stderr
    with suppress(BrokenPipeError), open(real, "w", encoding="utf-8") as wanted:
        yield wanted


def answer(target: str | None, as_json: bool, body: Callable[[TextIO], Code]) -> Code:
    """Do what a command does and return its exit code; what goes wrong is said on stderr, and in the JSON object."""
    try:
        return _answer(target, as_json, body)
    except OSError as error:
        return full(error)


def full(error: OSError) -> Code:
    """Say that stdout takes no more, and return the exit code; an error that says something else is raised again."""
    if error.errno is None or error.errno not in _FULL:
        raise error
    if sys.stdout is not sys.stderr and sys.stdout is not None:
        _discard(sys.stdout)
    tell(CommandError(f"can't write to stdout: {os.strerror(error.errno)}"))
    return Code.FAILED


def _discard(stream: Any) -> None:
    """Send what ``stream`` still holds nowhere, so that the interpreter doesn't fail over it when it exits."""
    try:
        fd = stream.fileno()
    except (AttributeError, OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, fd)
    os.close(nowhere)


def _answer(target: str | None, as_json: bool, body: Callable[[TextIO], Code]) -> Code:
    with output(as_json) as out:
        try:
            _install_policy()
            return body(out)
        except CommandError as error:
            tell(error)
            if as_json:
                write_json(out, target, {"error": str(error), **error.extra})
            return error.code
        except KeyboardInterrupt:  # before a run began, or at the third time of asking
            tell(CommandError("interrupted"))
            if as_json:
                write_json(out, target, {"error": "interrupted"})
            return Code.INTERRUPTED


def _install_policy() -> None:
    """Put the policy in force that the environment names, before anything is shown.

    Raises:
        CommandError: it has a mistake; the policy in force stays.
    """
    if not os.environ.get("MERIDIAN_REDACTION"):
        return
    from meridian.redaction import PolicyError, install_asked

    try:
        install_asked()
    except PolicyError as error:
        raise CommandError(f"MERIDIAN_REDACTION: {error}") from None


def write_json(stream: TextIO, target: str | None, content: dict[str, Any]) -> None:
    """Write one object: the target, the version, and what the command has to say."""
    record: dict[str, Any] = {"target": target, "version": VERSION, **content}
    if target is None:
        del record["target"]
    stream.write(json.dumps(record, indent=2 if stream.isatty() else None) + "\n")


def write_file(file: Path, text: str) -> None:
    """Write a file, in place of one that is there.

    Raises:
        CommandError: it can't be written.
    """
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(
            f"can't write {str(file)!r}: {error.strerror or error}", code=Code.FAILED
        ) from None


def tell(error: CommandError) -> None:
    """Say on stderr what went wrong."""
    from rich.console import Console

    if error.details:
        print(error.details.rstrip("\n"), file=sys.stderr)
    Console(stderr=True).print("[bold red]Error:[/]", _plain(str(error)), soft_wrap=True)


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(text)
