"""What all unit tests share: the marker, and how hard Hypothesis looks.

HYPOTHESIS_PROFILE chooses the profile. `quick` is the default: few examples, the same ones every time where CI is set.
`nightly` searches: many examples, a new seed each run. `mutation` is for code that is wrong in most runs: few examples, the same
ones every time, and a failing one isn't made smaller. Every value is spelled out, because Hypothesis loads a profile of
its own when CI is set and a profile that leaves a value open inherits it from there.
"""

import os
import signal
from importlib.util import find_spec

import pytest
from hypothesis import Phase, settings

from meridian.engine.kernel import PythonEngine
from meridian.engine.select import engine_type

IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}

settings.register_profile(
    "quick",
    max_examples=60,
    stateful_step_count=40,
    deadline=None,  # time is never asserted
    derandomize=IN_CI,
    database=None,
    print_blob=True,
    phases=(Phase.explicit, Phase.generate, Phase.target, Phase.shrink),
    suppress_health_check=(),
)
settings.register_profile(
    "nightly",
    max_examples=2_000,
    stateful_step_count=100,
    deadline=None,
    derandomize=False,
    database=None,
    print_blob=True,
    phases=(Phase.explicit, Phase.generate, Phase.target, Phase.shrink),
    suppress_health_check=(),
)
settings.register_profile(
    "mutation",
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=False,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=(),
    report_multiple_bugs=False,
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_configure(config: pytest.Config) -> None:
    # Also in pyproject.toml; here for `pytest --pyargs meridian`, which does not read it.
    config.addinivalue_line("markers", "req(*ids): the requirements this test shows")
    config.addinivalue_line(
        "markers",
        "v1(*ids): the quirks (L n) and defects (D n) of v1 whose keeping or mending this test shows",
    )


@pytest.fixture(params=["python", "rust"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[PythonEngine]:
    """Run the test on each engine in turn; returns its class, which knows of what its rings and turns are made.

    Where `meridian_fast` isn't installed there is only one; that CI has it is asserted by the tests of the house.
    """
    if request.param == "rust" and find_spec("meridian_fast") is None:
        pytest.skip("meridian_fast is not installed here: cargo was not found")
    monkeypatch.setenv("MERIDIAN_ENGINE", request.param)
    return engine_type(request.param)


# A job that a shell started in the background inherits an ignored SIGINT and hands it on: the programs under test are to
# be interrupted all the same.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
