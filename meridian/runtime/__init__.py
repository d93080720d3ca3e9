"""The layer that runs a graph."""
