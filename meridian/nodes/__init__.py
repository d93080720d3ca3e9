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
    from meridian.nodes.consumers import (
        BatchConsumer,
        DataConsumer,
    )
    from meridian.nodes.controllers import (
        Merger,
        Router,
        Splitter,
    )
    from meridian.nodes.data_processing import (
        CompressionMode,
        CompressionNode,
        CompressionType,
        EncryptionAlgorithm,
        EncryptionMode,
        EncryptionNode,
        SchemaType,
        SerializationFormat,
        SerializationNode,
        ValidationNode,
    )
    from meridian.nodes.events import (
        EventAggregator,
        EventCorrelator,
        TriggerNode,
    )
    from meridian.nodes.extras import MissingExtraError
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
    from meridian.nodes.monitoring import (
        AlertingNode,
        HealthCheckNode,
        MetricsCollectorNode,
        SamplingNode,
        SamplingStrategy,
    )
    from meridian.nodes.network import (
        HttpClientNode,
        HttpError,
        HttpServerNode,
        MessageQueueNode,
        NetworkError,
        RedisSettings,
        WebSocketNode,
    )
    from meridian.nodes.producers import (
        BatchProducer,
        DataProducer,
    )
    from meridian.nodes.state_management import (
        CounterNode,
        SessionNode,
        StateMachineNode,
        WindowNode,
        WindowType,
    )
    from meridian.nodes.storage import (
        BufferNode,
        CacheNode,
        EvictionPolicy,
        FileReaderNode,
        FileWriterNode,
        PersistenceStrategy,
    )
    from meridian.nodes.streams import (
        AsyncMap,
        Batch,
        Debounce,
        Join,
        JoinStrategy,
        from_async_iterable,
    )
    from meridian.nodes.transformers import (
        FilterTransformer,
        FlatMapTransformer,
        MapTransformer,
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
    "meridian.nodes.producers": (
        "BatchProducer",
        "DataProducer",
    ),
    "meridian.nodes.consumers": (
        "BatchConsumer",
        "DataConsumer",
    ),
    "meridian.nodes.transformers": (
        "FilterTransformer",
        "FlatMapTransformer",
        "MapTransformer",
    ),
    "meridian.nodes.controllers": (
        "Merger",
        "Router",
        "Splitter",
    ),
    "meridian.nodes.events": (
        "EventAggregator",
        "EventCorrelator",
        "TriggerNode",
    ),
    "meridian.nodes.workers": (
        "AsyncWorker",
        "WorkerPool",
    ),
    "meridian.nodes.storage": (
        "BufferNode",
        "CacheNode",
        "EvictionPolicy",
        "FileReaderNode",
        "FileWriterNode",
        "PersistenceStrategy",
    ),
    "meridian.nodes.network": (
        "HttpClientNode",
        "HttpError",
        "HttpServerNode",
        "MessageQueueNode",
        "NetworkError",
        "RedisSettings",
        "WebSocketNode",
    ),
    "meridian.nodes.monitoring": (
        "AlertingNode",
        "HealthCheckNode",
        "MetricsCollectorNode",
        "SamplingNode",
        "SamplingStrategy",
    ),
    "meridian.nodes.data_processing": (
        "CompressionMode",
        "CompressionNode",
        "CompressionType",
        "EncryptionAlgorithm",
        "EncryptionMode",
        "EncryptionNode",
        "SchemaType",
        "SerializationFormat",
        "SerializationNode",
        "ValidationNode",
    ),
    "meridian.nodes.extras": ("MissingExtraError",),
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
    "meridian.nodes.state_management": (
        "CounterNode",
        "SessionNode",
        "StateMachineNode",
        "WindowNode",
        "WindowType",
    ),
    "meridian.nodes.streams": (
        "AsyncMap",
        "Batch",
        "Debounce",
        "Join",
        "JoinStrategy",
        "from_async_iterable",
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
    # producers
    "BatchProducer",
    "DataProducer",
    # consumers
    "BatchConsumer",
    "DataConsumer",
    # transformers
    "FilterTransformer",
    "FlatMapTransformer",
    "MapTransformer",
    # controllers
    "Merger",
    "Router",
    "Splitter",
    # events
    "EventAggregator",
    "EventCorrelator",
    "TriggerNode",
    # workers
    "AsyncWorker",
    "WorkerPool",
    # storage
    "BufferNode",
    "CacheNode",
    "EvictionPolicy",
    "FileReaderNode",
    "FileWriterNode",
    "PersistenceStrategy",
    # network
    "HttpClientNode",
    "HttpError",
    "HttpServerNode",
    "MessageQueueNode",
    "NetworkError",
    "RedisSettings",
    "WebSocketNode",
    # monitoring
    "AlertingNode",
    "HealthCheckNode",
    "MetricsCollectorNode",
    "SamplingNode",
    "SamplingStrategy",
    # data_processing
    "CompressionMode",
    "CompressionNode",
    "CompressionType",
    "EncryptionAlgorithm",
    "EncryptionMode",
    "EncryptionNode",
    "SchemaType",
    "SerializationFormat",
    "SerializationNode",
    "ValidationNode",
    # extras
    "MissingExtraError",
    # flow_control
    "BackoffStrategy",
    "CircuitBreakerNode",
    "CircuitState",
    "RateLimitAlgorithm",
    "RetryNode",
    "ThrottleNode",
    "TimeoutAction",
    "TimeoutNode",
    # state_management
    "CounterNode",
    "SessionNode",
    "StateMachineNode",
    "WindowNode",
    "WindowType",
    # streams
    "AsyncMap",
    "Batch",
    "Debounce",
    "Join",
    "JoinStrategy",
    "from_async_iterable",
    # testing
    "NodeTestHarness",
]

if not TYPE_CHECKING:  # type checkers would take every misspelt name for an Any

    def __getattr__(name: str) -> Any:
        """Import what is asked for, and keep it; a module of this package counts as well, as if it were loaded."""
        home = _HOME.get(name)
        if home is None:
            if f"{__name__}.{name}" in HOMES:
                return import_module(f"{__name__}.{name}")
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(home), name)
        return value

    def __dir__() -> list[str]:
        """Return the names there are, loaded or not."""
        return sorted({*globals(), *__all__})
