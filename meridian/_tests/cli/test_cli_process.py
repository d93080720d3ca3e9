"""What only a process of its own can show: signals, pipes, file descriptors, missing packages, terminals."""

import json
import os
import signal
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.req("N1.4"),
    pytest.mark.skipif(sys.platform == "win32", reason="signals, pipes and terminals as POSIX has them"),
]
SECONDS = 60  # until a test that hangs fails; nothing waits for it otherwise

ENDLESS = """
import asyncio
from meridian import graph, sink, source

async def forever():
    yield "ready"
    await asyncio.Event().wait()

def build():
    return graph("endless", source(forever) >> sink(lambda item: print(item, flush=True)))
"""

DEAF = """
import os, signal, threading
from meridian import graph, sink, source

def never_ready(item):
    before = signal.getsignal(signal.SIGINT)

    def taken(number, frame):
        before(number, frame)
        os.write(1, b"taken\\n")

    signal.signal(signal.SIGINT, taken)
    os.write(1, b"ready\\n")
    threading.Event().wait()

def build():
    return graph("deaf", source(range(5)) >> sink(never_ready))
"""


def finish(process):
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


def test_python_dash_m_meridian_is_the_command(write, process):
    write("app.py")
    assert finish(process("run", "app", "--quiet")) == (0, "0\n2\n4\n", "")


def test_the_installed_command_finds_modules_of_the_current_folder(write, process):
    write("app.py")
    code = "import sys; sys.path[:] = [p for p in sys.path if p]; from meridian.cli import main; main()"
    assert finish(process("run", "app", "--quiet", code=code)) == (0, "0\n2\n4\n", "")


@pytest.mark.req("V8")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_drains_and_reports(write, process, number, code):
    write("app.py", ENDLESS)
    running = process("run", "app.py")
    assert running.stdout.readline() == "ready\n"
    running.send_signal(number)
    returned, out, err = finish(running)
    assert (returned, out) == (code, "")
    assert err.startswith("shutdown after ")
    assert "Traceback" not in err


def test_a_signal_under_json_still_gives_the_one_object(write, process):
    write("app.py", ENDLESS)
    running = process("run", "app.py", "--json")
    assert running.stderr.readline() == "ready\n"
    running.send_signal(signal.SIGINT)
    returned, out, _ = finish(running)
    report = json.loads(out)
    assert (returned, report["reason"], report["left"]) == (130, "shutdown", {})
    for edge in report["edges"]:
        assert edge["accepted"] == edge["delivered"] + edge["depth"] + sum(edge["lost"].values())


def test_a_second_interrupt_cuts_the_drain_short(write, process):
    # The handler of the message never returns, so only the second signal can end it.
    write("app.py", DEAF)
    running = process("run", "app.py", "--shutdown-timeout-s", "1000")
    assert running.stdout.readline() == "ready\n"
    running.send_signal(signal.SIGINT)
    assert running.stdout.readline() == "taken\n"
    running.send_signal(signal.SIGINT)
    returned, _, err = finish(running)
    assert returned == 130
    assert err.startswith("cancelled after ")
    assert "Traceback" not in err


def test_an_interrupt_while_the_target_is_imported_is_said_without_a_traceback(write, process):
    write("app.py", "import signal\nsignal.raise_signal(signal.SIGINT)\n")
    assert finish(process("run", "app.py")) == (130, "", "Error: interrupted\n")


def test_json_is_all_of_stdout_whatever_writes_there(write, process):
    write("app.py", """
import atexit, os, subprocess, sys
from meridian import graph, sink, source
saved = sys.stdout
def loud(item):
    print("printed")
    saved.write("saved\\n")
    os.write(1, b"descriptor\\n")
    subprocess.run([sys.executable, "-c", "print('child')"], check=True)
atexit.register(print, "at exit")
atexit.register(os.write, 1, b"at exit, descriptor\\n")
def build(): return graph("loud", source([1]) >> sink(loud))
""")  # fmt: skip
    returned, out, err = finish(process("run", "app.py", "--json"))
    assert (returned, out.count("\n"), json.loads(out)["reason"]) == (0, 1, "finished")
    assert sorted(err.splitlines()) == [
        "at exit", "at exit, descriptor", "child", "descriptor", "printed", "saved",
    ]  # fmt: skip


@pytest.mark.parametrize(("closed", "said"), [("2>&-", '"reason": "finished"'), ("1>&-", "")])
def test_a_stream_that_is_closed_is_no_error(write, closed, said):
    write("app.py")
    script = f'exec "$0" -m meridian run app.py --json {closed}'
    ran = subprocess.run(
        ["/bin/sh", "-c", script, sys.executable], stdout=subprocess.PIPE, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert ran.returncode == 0
    assert said in ran.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a file that is always full, as Linux has it")
@pytest.mark.parametrize(
    "command",
    [
        "nodes",
        "nodes --json",
        "nodes --schema",
        "info",
        "info --json",
        "run app.py --json",
        "validate app.py",
        "lint --help",
        "--version",
    ],
)
def test_a_full_disk_under_stdout_is_a_failure_and_no_traceback(write, command):
    write("app.py")
    script = f'exec "$0" -m meridian {command} > /dev/full'
    ran = subprocess.run(
        ["/bin/sh", "-c", script, sys.executable], stderr=subprocess.PIPE, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert ran.returncode == 1
    assert ran.stderr.endswith("Error: can't write to stdout: No space left on device\n")
    assert "Traceback" not in ran.stderr
    assert "Exception ignored" not in ran.stderr


def test_an_interrupt_before_there_is_a_command_is_no_traceback(write, process):
    write("typer.py", "raise KeyboardInterrupt\n")  # as if it came while typer is imported
    started = process("nodes")
    assert started.communicate(timeout=SECONDS) == ("", "Error: interrupted\n")
    assert started.returncode == 130


@pytest.mark.parametrize("stderr", [subprocess.PIPE, subprocess.STDOUT])
def test_a_reader_that_goes_away_stops_the_run(write, process, stderr):
    write("app.py", "import itertools\nfrom meridian import graph, sink, source\n"
          "def build(): return graph('endless', source(itertools.count()) >> sink(print))\n")  # fmt: skip
    running = process("run", "app.py", stderr=stderr)
    assert running.stdout.readline() == "0\n"
    running.stdout.close()
    if stderr == subprocess.PIPE:
        err = running.stderr.read()
        assert err.startswith("shutdown after ")
        assert "BrokenPipe" not in err
    assert running.wait(SECONDS) == 0


@pytest.mark.parametrize(
    "command", [["info"], ["validate", "app.py"], ["run", "app.py", "--json"], ["--help"]]
)
def test_a_reader_that_was_never_there_is_no_error(write, process, command):
    write(
        "app.py",
        "from meridian import graph as g, sink, source\ngraph = g('quiet', source([1]) >> sink(str))\n",
    )
    reading, writing = os.pipe()
    os.close(reading)
    running = process(*command, stdout=writing)
    os.close(writing)
    returned, _, err = finish(running)
    assert (returned, err) == (0, "")


def test_two_at_once_do_not_meet(write, process):
    write("app.py", ENDLESS)
    both = [process("run", "app.py", "--json") for _ in range(2)]
    assert [each.stderr.readline() for each in both] == ["ready\n", "ready\n"]
    both[0].send_signal(signal.SIGTERM)
    assert finish(both[0])[0] == 143
    assert both[1].poll() is None
    both[1].send_signal(signal.SIGINT)
    assert finish(both[1])[0] == 130


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_the_command_says_what_to_install(process, missing):
    code = f"import sys; sys.modules[{missing!r}] = None; from meridian.cli import main; main()"
    returned, out, err = finish(process("info", code=code))
    assert (returned, out) == (3, "")
    assert missing in err
    assert err.endswith("  pip install 'meridian-runtime[cli]'\n")


def test_the_command_line_leaves_the_graphs_excepthook_alone(write, process):
    write("app.py", "import sys\nassert sys.excepthook is sys.__excepthook__\n"
          "from meridian import graph as g, sink, source\ngraph = g('x', source([1]) >> sink(print))\n")  # fmt: skip
    assert finish(process("run", "app.py", "--quiet")) == (0, "1\n", "")


def in_terminal(process, *args, env=None, until=b""):
    """Run with stderr in a terminal; return the exit code, stdout, and what the terminal got."""
    import fcntl
    import struct
    import termios

    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    running = process(*args, stderr=theirs, stdin=subprocess.DEVNULL, env=env)
    os.close(theirs)
    got = b""
    while True:
        try:
            more = os.read(ours, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not more:
            break
        got += more
        if until and until in got:
            running.send_signal(signal.SIGINT)
            until = b""
    os.close(ours)
    out, _ = running.communicate(timeout=SECONDS)
    return running.returncode, out, got.decode()


def test_on_a_terminal_rates_depths_and_states_are_shown_while_it_runs(write, process):
    write("app.py", ENDLESS)
    returned, out, shown = in_terminal(process, "run", "app.py", until=b"0 of 1,024")
    assert (returned, out) == (130, "ready\n")
    assert "nodes: 2 started" in shown
    for head in ("Per second", "Delivered", "Depth", "Lost"):
        assert head in shown
    assert "\x1b[1;32mshutdown" in shown


def test_no_color_is_respected(write, process):
    write("app.py")
    _, _, shown = in_terminal(process, "run", "app.py", env={"NO_COLOR": "1"})
    assert "finished" in shown
    assert "\x1b[1;32m" not in shown
    assert "\x1b[32m" not in shown


def test_a_terminal_of_no_size_is_one_of_unknown_size(write, process):
    none = {"COLUMNS": "0", "LINES": "0"}
    write("app.py")
    _, _, shown = in_terminal(process, "run", "app.py", env=none)
    assert "sources exhausted" in shown
    returned, out, _ = finish(process("run", "--help", env=none))
    assert (returned, "TARGET" in out) == (0, True)


def test_quiet_shows_nothing_on_a_terminal(write, process):
    write("app.py")
    assert in_terminal(process, "run", "app.py", "--quiet") == (0, "0\n2\n4\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_there(process, shell):
    env = {"_MERIDIAN_COMPLETE": f"source_{shell}"}
    returned, out, _ = finish(process(env=env))
    assert returned == 0
    assert "_MERIDIAN_COMPLETE" in out
