"""One call that states how the whole process is observed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TextIO

from meridian.observability.context import generation
from meridian.observability.logging import LogConfig, LogLevel, replace_config
from meridian.observability.metrics import NoopMetrics, PrometheusConfig, PrometheusMetrics, configure_metrics
from meridian.observability.tracing import NOT_STATED, TracingConfig, configure_tracing

__all__ = [
    "ObservabilityConfig",
    "configure_observability",
    "generation",
    "get_default_config",
    "get_development_config",
    "get_production_config",
]


@dataclass
class ObservabilityConfig:
    """How the process is observed; every field has a meaning of its own, and what is not enabled is off.

    Attributes:
        log_level: Less urgent records are skipped; a name, in any case, works too.
        log_json: ``True`` for JSON lines, ``False`` for ``key=value`` pairs.
        log_stream: Where lines go. ``None`` means whatever ``sys.stderr`` is when a line is written.
        metrics_enabled: Install a fresh `PrometheusMetrics`.
        metrics_namespace: Prefix of its keys.
        tracing_enabled: Trace.
        tracing_provider: ``"noop"``, ``"inmemory"`` or ``"opentelemetry"``.
        tracing_sample_rate: Share of traces to keep, 0.0 to 1.0. Left out, all are kept.
    """

    log_level: LogLevel | str = LogLevel.INFO
    log_json: bool = True
    log_stream: TextIO | None = None
    metrics_enabled: bool = False
    metrics_namespace: str = "meridian-runtime"
    tracing_enabled: bool = False
    tracing_provider: str = "noop"
    tracing_sample_rate: float = NOT_STATED


def configure_observability(config: ObservabilityConfig) -> None:
    """Make logging, metrics and tracing what ``config`` says, whatever they were before.

    Loggers, bound instruments and a running scheduler follow.

    Raises:
        TypeError: ``config`` is something else, such as a dict.
        ValueError: unknown level, or a rate outside 0 to 1; nothing was changed.
    """
    if not isinstance(config, ObservabilityConfig):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            "configure_observability needs an ObservabilityConfig: use ObservabilityConfig(**settings)"
        )
    tracing = TracingConfig(
        enabled=config.tracing_enabled,
        provider=config.tracing_provider if config.tracing_enabled else "noop",
        sample_rate=config.tracing_sample_rate,
    )
    # All that can be wrong is looked at before anything is changed.
    tracing.validate()
    replace_config(LogConfig(level=config.log_level, json=config.log_json, stream=config.log_stream))
    configure_metrics(
        PrometheusMetrics(PrometheusConfig(namespace=config.metrics_namespace))
        if config.metrics_enabled
        else NoopMetrics()
    )
    configure_tracing(tracing)


def get_default_config() -> ObservabilityConfig:
    """Return the defaults: INFO as JSON, nothing else."""
    return ObservabilityConfig()


def get_development_config() -> ObservabilityConfig:
    """Return a configuration that shows everything: DEBUG, metrics, every span in memory."""
    return ObservabilityConfig(
        log_level=LogLevel.DEBUG,
        metrics_enabled=True,
        tracing_enabled=True,
        tracing_provider="inmemory",
        tracing_sample_rate=1.0,
    )


def get_production_config() -> ObservabilityConfig:
    """Return a configuration for production: INFO, metrics, a tenth of the traces to OpenTelemetry."""
    return ObservabilityConfig(
        log_level=LogLevel.INFO,
        metrics_enabled=True,
        tracing_enabled=True,
        tracing_provider="opentelemetry",
        tracing_sample_rate=0.1,
    )
