"""Checks that an edge, an engine or a store keeps Meridian's contract.

plugin.py   the pytest side: options and markers; light, because pytest imports it at every start
cli.py      the command `meridian-conform`
"""

__all__ = ["__version__"]

__version__ = "2.0.0"
