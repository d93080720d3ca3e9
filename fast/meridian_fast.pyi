"""The Rust engine of Meridian. Written by hand, checked against the built module by `make types`."""

__all__ = ["__version__", "build_info"]

__version__: str

def build_info() -> str:
    """What this binary is, in one line: version, profile, target, interface."""
