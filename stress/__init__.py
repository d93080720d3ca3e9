"""Does it survive: seeded scenarios with invariants, on both engines, with memory, descriptors and threads watched.

`python -m stress --list` names the scenarios; docs/how-to/stress.md says how to run, read, replay and write one.
"""
