"""Ready-made nodes, and the harness that tests one by itself."""

from meridian.testing.harness import NodeTestHarness

__all__ = ["NodeTestHarness"]
