"""The third kind of target: a whole engine, which runs a graph."""
