"""The picture of the inspector on the pages is what the inspector shows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.req("N6")


def test_the_recorded_screens_are_up_to_date(root: Path):
    done = subprocess.run(
        [sys.executable, "ci/inspector_picture.py", "--check"],
        cwd=root, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.req("X2")
def test_the_recorded_screens_call_no_other_host_and_show_no_payload(root: Path):
    text = (root / "docs/figures/top.svg").read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\"\s]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "[redacted]" in text
