"""The log pipeline in docs/examples/access_log: what it finds, what it refuses, and how it ends."""

import asyncio
import importlib.util
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from meridian import Scheduler
from meridian.core.errors import NodeError

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "docs" / "examples" / "access_log"
pytestmark = pytest.mark.req("N11")


def _load(name: str):
    spec = importlib.util.spec_from_file_location(f"access_log_{name}", EXAMPLE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


graph = _load("graph")
sample = _load("sample")

GOOD = b'192.0.2.7 - ada [17/May/2015:10:05:03 +0200] "GET /a?b=c HTTP/1.1" 200 12 "-" "agent"'


def request(n: int) -> bytes:
    """One good line of a server that never was."""
    size = b"-" if n % 7 == 0 else b"%d" % (n * 10)
    return (
        b'192.0.2.%d - - [17/May/2015:10:05:03 +0000] "GET /page/%d HTTP/1.1" %d %s "-" "agent \\"%d\\""\n'
        % (
            n % 50,
            n % 11,
            (200, 304, 404)[n % 3],
            size,
            n,
        )
    )


def log_of(count: int) -> bytes:
    return b"".join(request(n) for n in range(count))


def expected(count: int) -> dict:
    return {
        "status": dict(Counter((200, 304, 404)[n % 3] for n in range(count))),
        "bytes": sum(n * 10 for n in range(count) if n % 7),
        "hosts": min(count, 50),
    }


def found(results) -> dict:
    return {"status": dict(results.status), "bytes": results.bytes, "hosts": len(results.hosts)}


def run(log, **options):
    """Run the graph in this process; return it, and the report."""
    options = {"lookup_s": 0.0, "show_s": 0.001, **options}
    made = graph.build(log, **options)
    scheduler = Scheduler()
    scheduler.register(made)
    scheduler.run()
    return made, scheduler.report()


def demo(*arguments, **options) -> subprocess.CompletedProcess:
    """Run the command as `make demo` does."""
    return subprocess.run(
        command(*arguments), capture_output=True, timeout=60, env=environment(), check=False, **options
    )


def command(*arguments) -> list[str]:
    return [sys.executable, str(EXAMPLE / "demo.py"), *map(str, arguments)]


def environment(**more: str) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("FORCE_COLOR", "COLUMNS"))
    }
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def rows_of(file) -> list[tuple]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(
            "SELECT run, line, host, path, status, size, agent FROM requests ORDER BY line"
        ).fetchall()


def conserved(edges) -> bool:
    return all(e["accepted"] == e["delivered"] + e["depth"] + e["lost"] + e["merged"] for e in edges)


# ---- parsing ---------------------------------------------------------------------------------------------------------


def parse(data: bytes, end: str = "whole"):
    return graph.parse_line(graph.Line(1, data, end))


def test_a_line_in_combined_format_becomes_a_request():
    assert parse(GOOD) == graph.Entry(
        number=1, host="192.0.2.7", user="ada", at=1431849903, method="GET", path="/a", status=200, size=12,
        referer="-", agent="agent",
    )  # fmt: skip


def test_quotes_and_backslashes_inside_quotes_are_unescaped_and_control_characters_stay_escaped():
    entry = parse(GOOD.replace(b'"agent"', rb'"a \"b\" \\ \x1b[2J"'))
    assert entry.agent == r'a "b" \ \x1b[2J'


def test_a_dash_for_bytes_is_zero():
    assert parse(GOOD.replace(b" 12 ", b" - ")).size == 0


def test_what_a_port_scanner_sent_is_a_request_without_method_and_path():
    entry = parse(GOOD.replace(b"GET /a?b=c HTTP/1.1", rb"\x16\x03\x01"))
    assert (entry.method, entry.path, entry.status) == ("", "-", 200)


def test_a_user_agent_that_the_server_cut_off_is_read_if_the_line_is_whole():
    assert parse(GOOD[:-1]).agent == "agent"
    assert parse(GOOD[:-1], "unfinished") == graph.Rejected(1, "cut off")
    assert parse(GOOD, "unfinished").agent == "agent"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "blank"),
        (b"   ", "blank"),
        (b"\xff\xfe\x00" + GOOD, "not text"),
        (GOOD.replace(b"agent", b"a\x00b"), "not text"),
        (GOOD.replace(b"agent", b"a\x1bb"), "not text"),
        (b"hello", "not a request"),
        (GOOD[:60], "not a request"),
        (GOOD + b" more", "not a request"),
        (GOOD.replace(b" 200 ", b" 20 "), "not a request"),
        (GOOD.replace(b" 12 ", b" " + b"9" * 30 + b" "), "not a request"),
        (GOOD.replace(b" 12 ", " ١٢ ".encode()), "not a request"),
        (GOOD.replace(b'"agent"', b'"agent\\'), "not a request"),
        (GOOD.replace(b"17/May", b"32/May"), "impossible time"),
        (GOOD.replace(b"17/May", b"17/Foo"), "impossible time"),
        (GOOD.replace(b"+0200", b"+9900"), "impossible time"),
    ],
)
def test_a_line_that_is_no_request_is_rejected_with_a_reason_and_without_the_line(data, reason):
    assert parse(data) == graph.Rejected(1, reason)


def test_no_prefix_of_a_line_is_taken_for_a_request_when_the_input_ends_there():
    assert {type(parse(GOOD[:n], "unfinished")) for n in range(len(GOOD))} == {graph.Rejected}


def test_a_hostile_line_costs_no_more_than_its_length():
    assert parse(b'h - u [t] "' + b"\\a" * 30_000) == graph.Rejected(1, "not a request")
    assert parse(GOOD.replace(b'"-"', b'"' + b'\\"' * 30_000 + b'"')).referer == '"' * 30_000


# ---- cutting into lines ----------------------------------------------------------------------------------------------


class Parts:
    """Chunks of any size."""

    def __init__(self, parts):
        self.parts = parts

    async def __aiter__(self):
        for part in self.parts:
            yield part


def cut(parts) -> list[tuple[bytes, str]]:
    async def collect():
        return [line async for block in graph.blocks(Parts(parts)) for line in graph.lines_of(block)]

    return asyncio.run(collect())


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_lines_do_not_depend_on_how_the_input_was_cut_into_chunks(size):
    data = b"one\r\n\ntwo\r\nthree"
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    assert cut(parts) == [(b"one", "whole"), (b"", "whole"), (b"two", "whole"), (b"three", "unfinished")]


@pytest.mark.parametrize("size", [1_000, 40_000, 64 * 1024, 10_000_000])
@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_line_is_too_long_from_one_byte_above_the_limit_on_however_it_is_read(size, over, end):
    data = b"a\n" + b"x" * (graph.MAX_LINE_BYTES + over) + end + b"b\n"
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    lines = cut(parts)
    assert [(len(line), how) for line, how in lines] == [
        (1, "whole"),
        (0, "too long") if over else (graph.MAX_LINE_BYTES, "whole"),
        (1, "whole"),
    ]


def test_of_a_line_without_end_no_more_than_the_limit_is_kept():
    sizes = []

    async def collect():
        async for block in graph.blocks(Parts([b"x" * 50_000] * 100)):
            sizes.append((len(block.data), block.end, block.size))

    asyncio.run(collect())
    assert sizes == [(0, "too long", 5_000_000)]


# ---- the graph -------------------------------------------------------------------------------------------------------


def test_the_graph_is_valid_and_build_needs_no_arguments():
    made = graph.build()
    assert made.validate() == []
    assert {type(edge.default_policy).__name__ for edge in made.edges} >= {"Latest", "Coalesce"}


@pytest.mark.parametrize("capacity", [1, 2, 1024])
def test_every_line_is_counted_looked_up_and_stored_whatever_the_capacity(tmp_path, capacity):
    (tmp_path / "log").write_bytes(log_of(1_500))
    made, report = run(tmp_path / "log", capacity=capacity, db=tmp_path / "db")
    assert found(made.results) == expected(1_500)
    assert (made.results.lines, made.results.parsed, made.results.rejected.total()) == (1_500, 1_500, 0)
    assert report.reason == "finished"
    assert report.left == {}
    assert [row[1] for row in rows_of(tmp_path / "db")] == list(range(1, 1_501))
    assert rows_of(tmp_path / "db")[5][2:] == ("192.0.2.5", "/page/5", 404, 50, 'agent "5"')
    for edge in report.edges:
        assert edge.accepted == edge.delivered + edge.depth + edge.merged + sum(edge.lost.values())
        assert edge.lost == {} or edge.policy == "latest"
        if edge.id.startswith("parse:entry->"):
            assert edge.accepted == 1_500
        if edge.policy == "block":
            assert edge.capacity == capacity


def test_the_last_control_comes_behind_the_last_line_so_that_nothing_is_left_to_the_stop():
    made = graph.build([log_of(700)], flush_s=60, lookup_s=0.0, show_s=0.001)
    stopped_with = []
    for name in ("status", "volume", "store"):
        node = made.nodes[name]
        keep = node.amounts if name != "store" else node.batch
        original = node.on_stop

        def on_stop(node=node, original=original, keep=keep):
            stopped_with.append(len(node.batch if node.name == "store" else node.amounts))
            return original()

        node.on_stop = on_stop
    scheduler = Scheduler()
    scheduler.register(made)
    scheduler.run()
    assert stopped_with == [0, 0, 0]
    assert made.store.stored == 700
    flushes = {edge.id: edge.accepted for edge in scheduler.report().edges if edge.id.startswith("flush")}
    assert set(flushes.values()) == {1}


def test_a_flush_stores_a_partial_batch_while_the_input_is_still_open(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(log_of(3))

    async def scenario():
        made = graph.build(log, follow=True, poll_s=0.001, flush_s=0.001, lookup_s=0.0, db=tmp_path / "db")
        scheduler = Scheduler()
        scheduler.register(made)
        running = asyncio.create_task(scheduler.run_async())
        await until(lambda: made.store.stored == 3 and made.results.status.total() == 3)
        assert not made.results.ended.is_set()
        scheduler.shutdown()
        await running

    asyncio.run(scenario())
    assert len(rows_of(tmp_path / "db")) == 3


async def until(true) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.001)


def test_a_file_cut_in_the_middle_of_a_line_loses_that_line_and_nothing_else():
    made, _ = run([log_of(100)[:-40]])
    assert found(made.results) == expected(99)
    assert made.results.rejected == {"cut off": 1}
    assert made.results.first_rejected == {"cut off": 100}


def test_binary_garbage_is_rejected_and_counted_and_changes_nothing_else(tmp_path):
    draw = random.Random(7)
    lines = [request(n) for n in range(1_000)]
    for _ in range(10):
        garbage = draw.randbytes(200).replace(b"\n", b"\x00") + b"\xff\n"
        lines.insert(draw.randrange(len(lines)), garbage)
    made, _ = run([b"".join(lines)], db=tmp_path / "db")
    assert found(made.results) == expected(1_000)
    assert (made.results.lines, made.results.rejected) == (1_010, {"not text": 10})
    assert len(rows_of(tmp_path / "db")) == 1_000


def test_carriage_returns_before_line_breaks_make_no_difference():
    made, _ = run([log_of(50).replace(b"\n", b"\r\n")])
    assert found(made.results) == expected(50)


def test_an_empty_input_gives_an_empty_result():
    made, report = run([b""])
    assert (made.results.lines, found(made.results)) == (0, {"status": {}, "bytes": 0, "hosts": 0})
    assert report.reason == "finished"


def test_a_huge_line_is_rejected_and_the_lines_around_it_are_not():
    made, _ = run([request(1), b"x" * 3_000_000 + b"\n", request(2)])
    assert made.results.parsed == 2
    assert made.results.rejected == {"too long": 1}


def test_the_lookup_asks_once_for_each_host_and_for_no_more_than_eight_at_a_time():
    made = graph.build([log_of(500)], lookup_s=0.0, show_s=0.001)
    scheduler = Scheduler()
    scheduler.register(made)
    scheduler.run()
    assert made.results.lookups == 50
    assert made.results.regions.total() == 500


def test_heavy_paths_are_kept_apart_and_the_rest_is_added_up_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(graph, "MAX_PATHS", 4)
    results = graph.Results()
    graph.keep(results, graph.Counts("volume", {f"/{n}": n for n in range(1, 7)}))
    assert results.bytes_by_path == {"/6": 6, "/5": 5, graph.OTHER_PATHS: 10}
    assert results.bytes == 21


def test_merging_counts_loses_nothing():
    merged = graph.add_counts(
        graph.Counts("status", {200: 2, 404: 0}), graph.Counts("status", {200: 3, 500: 1})
    )
    assert merged == graph.Counts("status", {200: 5, 404: 0, 500: 1})


def test_the_dashboard_is_shown_the_results_and_misses_most_requests():
    seen = []
    made = graph.build([log_of(2_000)], lookup_s=0.0, show_s=0.001)
    made.show = lambda results: seen.append(results.lines)
    scheduler = Scheduler()
    scheduler.register(made)
    scheduler.run()
    edge = next(edge for edge in scheduler.report().edges if edge.policy == "latest")
    assert len(seen) == edge.delivered > 0
    assert edge.lost["replaced"] == 2_000 - edge.delivered


# ---- following -------------------------------------------------------------------------------------------------------


def test_a_followed_file_is_read_on_as_it_grows_and_anew_when_it_is_replaced_or_truncated(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(log_of(5) + request(5)[:30])

    async def scenario():
        made = graph.build(log, follow=True, poll_s=0.001, lookup_s=0.0, show_s=0.001)
        results = made.results
        scheduler = Scheduler()
        scheduler.register(made)
        running = asyncio.create_task(scheduler.run_async())
        await until(lambda: results.parsed == 5)
        with log.open("ab") as file:  # the rest of a line that was begun
            file.write(request(5)[30:] + request(6))
        await until(lambda: results.parsed == 7)
        (tmp_path / "new").write_bytes(request(7))
        (tmp_path / "new").rename(log)
        await until(lambda: results.parsed == 8)
        log.write_bytes(b"")
        await asyncio.sleep(
            0.02
        )  # let it be seen; a file truncated and refilled between two looks can't be told
        with log.open("ab") as file:
            file.write(request(8))
        await until(lambda: results.parsed == 9)
        scheduler.shutdown()
        await running
        assert results.rejected.total() == 0
        assert found(results) == expected(9)

    asyncio.run(scenario())


# ---- the database ----------------------------------------------------------------------------------------------------


def test_two_runs_share_a_database_and_their_rows_can_be_told_apart(tmp_path):
    for _ in range(2):
        run([log_of(20)], db=tmp_path / "db")
    rows = rows_of(tmp_path / "db")
    assert len(rows) == 40
    assert sorted(Counter(row[0] for row in rows).values()) == [20, 20]


@pytest.mark.req("V9")
def test_a_locked_database_stops_the_run_and_every_row_is_stored_or_counted_as_not(tmp_path):
    made = graph.build([log_of(2_000)], db=tmp_path / "db", db_wait_s=0.01, lookup_s=0.0, show_s=0.001)
    with closing(sqlite3.connect(tmp_path / "db", isolation_level=None, check_same_thread=False)) as other:
        scheduler = Scheduler()
        scheduler.register(made)
        opened = made.store._open

        def lock_behind() -> None:
            opened()
            other.execute("BEGIN IMMEDIATE")

        made.store._open = lock_behind
        with pytest.raises(NodeError) as failed:
            scheduler.run()
        other.execute("ROLLBACK")
    assert str(failed.value.__cause__) == "the database refused: database is locked"
    edges = {edge.id: edge for edge in scheduler.report().edges}
    edge = edges["parse:entry->store:entry"]
    assert made.store.stored == 0
    assert made.store.unstored == edge.delivered > 0
    assert edge.accepted == edge.delivered + edge.depth
    assert rows_of(tmp_path / "db") == []


def test_a_full_disk_keeps_what_is_stored_and_counts_what_is_not(tmp_path):
    made = graph.build([log_of(5_000)], db=tmp_path / "db", lookup_s=0.0, show_s=0.001)
    opened = made.store._open

    def open_on_a_small_disk() -> None:
        opened()
        made.store.connection.execute("PRAGMA max_page_count = 40")

    made.store._open = open_on_a_small_disk
    scheduler = Scheduler()
    scheduler.register(made)
    with pytest.raises(NodeError) as failed:
        scheduler.run()
    assert "full" in str(failed.value.__cause__)
    edge = next(edge for edge in scheduler.report().edges if edge.id == "parse:entry->store:entry")
    assert made.store.stored + made.store.unstored == edge.delivered
    assert len(rows_of(tmp_path / "db")) == made.store.stored > 0
    assert made.store.stored % graph.BATCH_ROWS == 0 or made.store.stored < edge.delivered


def test_a_database_that_cannot_be_opened_ends_the_run_before_anything_is_read(tmp_path):
    with pytest.raises(NodeError) as failed:
        run([log_of(10)], db=tmp_path / "nowhere" / "db")
    assert str(failed.value.__cause__) == "the database refused: unable to open database file"


# ---- the sample ------------------------------------------------------------------------------------------------------


def test_the_sample_is_the_same_on_every_machine():
    assert sha256(b"".join(sample.lines(2_000))).hexdigest() == (
        "d792de4e7e9ce0815d78c6ed22183fe3f6b482d7f42482c0901c74ad6201dec6"
    )
    assert b"".join(sample.lines(50)) != b"".join(sample.lines(50, seed=1))


def test_the_sample_holds_good_lines_and_every_kind_of_bad_ones():
    made, _ = run(sample.lines(10_000))
    assert made.results.lines == 10_000
    assert set(made.results.rejected) == {"not text", "not a request", "blank", "too long"}
    assert 0 < made.results.rejected.total() < 200


# ---- the command -----------------------------------------------------------------------------------------------------


def test_json_prints_exactly_one_object_with_every_promised_key(tmp_path):
    (tmp_path / "log").write_bytes(log_of(300) + b"\xff\xfe\n")
    done = demo("--log", tmp_path / "log", "--json", "--db", tmp_path / "db", "--capacity", 1)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    out = json.loads(done.stdout)
    assert done.stdout.count(b"\n") == 1
    assert {k: out[k] for k in ("lines", "parsed", "rejected", "bytes", "unique_hosts", "rows_stored", "unread_bytes")} == {
        "lines": 301, "parsed": 300, "rejected": 1, "bytes": expected(300)["bytes"], "unique_hosts": 50,
        "rows_stored": 300, "unread_bytes": 0,
    }  # fmt: skip
    assert out["status"] == {str(code): n for code, n in expected(300)["status"].items()}
    assert out["elapsed_s"] > 0
    assert out["messages_per_s"] > 0
    assert conserved(out["edges"])
    for edge in out["edges"]:
        assert edge.keys() >= {"id", "policy", "accepted", "delivered", "depth", "lost", "merged"}
        assert edge["lost"] == sum(edge["lost_by_cause"].values())
        if edge["policy"] == "block":
            assert (edge["capacity"], edge["lost"], edge["depth"]) == (1, 0, 0)
    assert len(rows_of(tmp_path / "db")) == 300


def test_the_standard_input_is_read_when_the_log_is_a_dash():
    done = demo("--log", "-", "--json", input=log_of(200))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["parsed"] == 200


def test_the_report_for_a_person_has_no_colour_outside_a_terminal(tmp_path):
    (tmp_path / "log").write_bytes(log_of(100) + b"\x1b[31mred\n")
    done = demo("--log", tmp_path / "log")
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    assert text.startswith("101 lines in ")
    assert "\x1b" not in text
    for expected_text in (
        "Status",
        "Heaviest paths",
        "parse:entry->dashboard:input",
        "accepted",
        "not text",
        "replaced",
    ):
        assert expected_text in text


def test_without_rich_the_report_is_plain_text(tmp_path):
    (tmp_path / "log").write_bytes(log_of(100))
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").write_text("raise ImportError('not here')\n")
    done = subprocess.run(
        command("--log", tmp_path / "log"), capture_output=True, timeout=60, check=False,
        env=environment(PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)])),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"100 lines in " in done.stdout
    assert b"parse:entry->store:entry" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--log", "missing"], b"No such file or directory"),
        (["--log", "."], b"is a directory"),
        (["--capacity", "0"], b"at least 1"),
        (["--capacity", "many"], b"invalid int"),
        (["--follow"], b"--follow needs --log"),
    ],
)
def test_wrong_usage_says_what_is_wrong_on_stderr_and_exits_with_2(tmp_path, arguments, says):
    done = demo("--json", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert says in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_log_that_may_not_be_read_is_refused_before_anything_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "graph", graph)
    (tmp_path / "log").write_bytes(b"")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the superuser may read everything
    assert _load("demo").main(["--log", str(tmp_path / "log")]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"access_log: {tmp_path / 'log'}: Permission denied\n")


def test_a_database_that_refuses_exits_with_1_and_says_what_is_stored_and_shows_no_payload(tmp_path):
    (tmp_path / "log").write_bytes(log_of(100))
    (tmp_path / "db").write_bytes(b"this is no database" * 100)
    done = demo("--log", tmp_path / "log", "--db", tmp_path / "db", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"] == (
        "the database refused: file is not a database; 0 rows are stored, 0 that had been read are not"
    )
    assert b"192.0.2" not in done.stderr
    assert b"Traceback" not in done.stderr


def test_two_demos_at_once_write_to_one_database_and_lose_nothing(tmp_path):
    (tmp_path / "log").write_bytes(log_of(1_200))
    arguments = command("--log", tmp_path / "log", "--db", tmp_path / "db", "--json")
    both = [
        subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
        for _ in range(2)
    ]
    for each in both:
        out, err = each.communicate(timeout=60)
        assert each.returncode == 0, err
        assert json.loads(out)["rows_stored"] == 1_200
    assert sorted(Counter(row[0] for row in rows_of(tmp_path / "db")).values()) == [1_200, 1_200]


@pytest.mark.req("V8")
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a named pipe")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_half_way_works_off_what_was_read_and_reports_it(tmp_path, number, code):
    os.mkfifo(tmp_path / "log")
    arguments = command("--log", tmp_path / "log", "--db", tmp_path / "db", "--json")
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    with (tmp_path / "log").open("wb") as pipe:  # returns when the other end is open, so the run is under way
        pipe.write(log_of(3_000))  # far more than a pipe holds: when this returns, most of it is in the graph
        pipe.flush()
        process.send_signal(number)
        out, err = process.communicate(timeout=60)  # the pipe stays open: it must not be waited for
    assert process.returncode == code, err
    report = json.loads(out)
    assert report["ended"] == "shutdown"
    assert conserved(report["edges"])
    assert report["left"] == {edge["id"]: edge["depth"] for edge in report["edges"] if edge["depth"]}
    assert 0 < report["lines"] <= 3_000
    assert report["lines"] == report["parsed"] + report["edges"][1]["depth"]
    stored = next(edge for edge in report["edges"] if edge["id"] == "parse:entry->store:entry")
    assert report["rows_stored"] == stored["delivered"] == len(rows_of(tmp_path / "db"))
    assert sum(report["status"].values()) == report["parsed"]


def test_nobody_reading_the_report_is_no_error(tmp_path):
    (tmp_path / "log").write_bytes(log_of(10))
    with open(os.devnull, "wb") as nowhere:
        process = subprocess.Popen(
            command("--log", tmp_path / "log"), stdout=subprocess.PIPE, stderr=nowhere, env=environment()
        )
        process.stdout.close()
        assert process.wait(timeout=60) == 0
