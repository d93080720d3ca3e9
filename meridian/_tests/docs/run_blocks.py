"""Runs the Python blocks of one page: `python run_blocks.py blocks.json`; exit code 1 if any of them fails.

Not a test module: `test_docs_run.py` starts it once for each page.
"""

import contextlib
import io
import json
import os
import sys
import tempfile
import traceback
from pathlib import Path

from meridian.observability import ObservabilityConfig, configure_observability


def run(page: str, line: int, source: str, prints: str | None) -> str | None:
    """Run one block; return what is wrong, or None."""
    code = compile("\n" * line + source, page, "exec")  # line numbers are those of the page
    namespace = {"__name__": "__main__", "__file__": page}
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            exec(code, namespace)
    except BaseException:  # SystemExit and KeyboardInterrupt are failures here too
        return traceback.format_exc()
    finally:
        configure_observability(ObservabilityConfig())
    if prints is not None and out.getvalue().rstrip() != prints.rstrip():
        return f"it prints\n{out.getvalue()}\nand the page says\n{prints}"
    return None


def leave_time(sources: list[str]) -> None:
    """Take Hypothesis its limits of time, if the page uses it: how fast this machine is now, is not what the page is about."""
    if any("hypothesis" in source for source in sources):
        from hypothesis import HealthCheck, settings

        settings.register_profile("pages", deadline=None, suppress_health_check=[HealthCheck.too_slow])
        settings.load_profile("pages")


def main() -> int:
    task = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    leave_time([block["source"] for block in task["blocks"]])
    failed = 0
    for block in task["blocks"]:
        where = f"{task['page']}:{block['line']}"
        print(where, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            before = Path.cwd()
            os.chdir(folder)
            try:
                wrong = run(task["page"], **block)
            finally:
                os.chdir(before)
        if wrong is not None:
            failed = 1
            print(f"{where} fails:\n{wrong}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
