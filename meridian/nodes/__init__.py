"""Ready-made nodes, and the harness that tests one by itself.

Nothing of it is loaded before somebody asks for it: the first use of a name imports the module that has it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from meridian.nodes.base import (
        DistributionStrategy,
        ErrorPolicy,
        FunctionNode,
        MergeStrategy,
        NodeConfig,
        TimingConfig,
        create_error_message,
        setup_standard_ports,
        validate_callable,
    )
    from meridian.nodes.flow_control import (
        BackoffStrategy,
        CircuitBreakerNode,
        CircuitState,
        RateLimitAlgorithm,
        RetryNode,
        ThrottleNode,
        TimeoutAction,
        TimeoutNode,
    )
    from meridian.nodes.workers import (
        AsyncWorker,
        WorkerPool,
    )
    from meridian.testing.harness import NodeTestHarness

HOMES: Final[dict[str, tuple[str, ...]]] = {
    "meridian.nodes.base": (
        "DistributionStrategy",
        "ErrorPolicy",
        "FunctionNode",
        "MergeStrategy",
        "NodeConfig",
        "TimingConfig",
        "create_error_message",
        "setup_standard_ports",
        "validate_callable",
    ),
    "meridian.nodes.workers": (
        "AsyncWorker",
        "WorkerPool",
    ),
    "meridian.nodes.flow_control": (
        "BackoffStrategy",
        "CircuitBreakerNode",
        "CircuitState",
        "RateLimitAlgorithm",
        "RetryNode",
        "ThrottleNode",
        "TimeoutAction",
        "TimeoutNode",
    ),
    "meridian.testing.harness": ("NodeTestHarness",),
}
"""Which module has which names."""

_HOME: Final = {name: module for module, names in HOMES.items() for name in names}

__all__ = [
    # base
    "DistributionStrategy",
    "ErrorPolicy",
    "FunctionNode",
    "MergeStrategy",
    "NodeConfig",
    "TimingConfig",
    "create_error_message",
    "setup_standard_ports",
    "validate_callable",
    # workers
    "AsyncWorker",
    "WorkerPool",
    # flow_control
    "BackoffStrategy",
    "CircuitBreakerNode",
    "CircuitState",
    "RateLimitAlgorithm",
    "RetryNode",
    "ThrottleNode",
    "TimeoutAction",
    "TimeoutNode",
    # testing
    "NodeTestHarness",
]

if not TYPE_CHECKING:  # type checkers would take every misspelt name for an Any

    def __getattr__(name: str) -> Any:
        """Import what is asked for, and keep it."""
        home = _HOME.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(home), name)
        return value

    def __dir__() -> list[str]:
        """Return the names there are, loaded or not."""
        return sorted({*globals(), *__all__})
