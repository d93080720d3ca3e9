"""Every test here starts from, and leaves behind, a process as it is out of the box, and logs into a buffer."""

from meridian._tests.core.conftest import debug, events, log, records

__all__ = ["debug", "events", "log", "records"]
