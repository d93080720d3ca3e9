"""What is recorded around one call of a node's code outside a run: a span, a counter, an event.

Within a run the engine counts in batches instead; see ``meridian.runtime.observe``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from time import perf_counter

from meridian.observability.logging import get_logger
from meridian.observability.metrics import get_metrics
from meridian.observability.tracing import start_span
from meridian.redaction import describe_error


@contextmanager
def message(
    node: str, port: str, trace_id: Callable[[], str], counted: bool = True
) -> Generator[None, None, None]:
    """Observe the handling of one message.

    Args:
        node: Name of the node.
        port: The input port.
        trace_id: Returns the message's trace id.
        counted: Whether the counters are wanted.
    """
    labels = {"node": node}
    began = perf_counter()
    with start_span("node.on_message", {"node": node, "port": port, "trace_id": trace_id()}):
        try:
            yield
        except Exception as error:
            if counted:
                get_metrics().counter("node_errors_total", labels).inc()
            failed("node.message_error", node, error)
            raise
    if counted:
        get_metrics().counter("node_messages_total", labels).inc()
    logger = get_logger()
    if logger.is_enabled("DEBUG"):
        logger.debug("node.message_processed", "message handled", node=node, duration=perf_counter() - began)


@contextmanager
def tick(node: str) -> Generator[None, None, None]:
    """Observe one tick of ``node``."""
    began = perf_counter()
    try:
        with start_span("node.on_tick", {"node": node}):
            yield
    except Exception as error:
        failed("node.tick_error", node, error)
        raise
    finally:
        get_metrics().histogram("node_tick_duration_seconds", {"node": node}).observe(perf_counter() - began)
    logger = get_logger()
    if logger.is_enabled("DEBUG"):
        logger.debug("node.tick_processed", "tick handled", node=node)


def failed(event: str, node: str, error: Exception) -> None:
    """Log a failure of a node's code, without payload."""
    told = describe_error(error)
    get_logger().error(
        event, "handler failed", node=node, error_type=told.type, error_msg=told.message, where=told.where
    )
