"""Bundles for support: one file that says how a graph is doing, and nothing that it handles.

::

    gather          gathers the parts and packs them
    environment     system, Python, packages, variables
    configuration   checksums of a project's files
    runtime         what the system knows of a process
    target          TARGET, loaded in a process of its own
    topology        nodes and edges
    texts           metrics, the end of a log file
    scrub           what may stand in a bundle
    manifest        what a bundle says about itself
    archive         the zip file, and the file on disk
    read            a bundle that may come from anybody, checked

The command is ``meridian diagnostics``; see decision 0015 for why a bundle is as it is.
"""

from __future__ import annotations

from meridian.diagnostics.errors import BundleError, DiagnosticsError
from meridian.diagnostics.gather import Collected, Request, collect
from meridian.diagnostics.manifest import SCHEMA_VERSION, Manifest, Member, Missing
from meridian.diagnostics.read import Bundle, open_bundle, read_bundle

__all__ = [
    "SCHEMA_VERSION",
    "Bundle",
    "BundleError",
    "Collected",
    "DiagnosticsError",
    "Manifest",
    "Member",
    "Missing",
    "Request",
    "collect",
    "open_bundle",
    "read_bundle",
]
