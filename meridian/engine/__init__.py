"""The kernel: rings, ready queue, dispatch, counters. No asyncio, no clock of its own, no logging.

This is the Python reference, which says what every engine has to do. Read `ring` first (what an edge keeps, and what it does
when it is full), then `ready` (who runs next), `step` (what one slice does) and `kernel` (the loop, and the few calls by
which a run drives it). `select` chooses which engine runs, and why.
"""
