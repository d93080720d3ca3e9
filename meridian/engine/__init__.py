"""The kernel: rings, ready queue, dispatch, counters. No asyncio, no clock of its own, no logging.

Read `protocol` first: the few calls by which the scheduler drives any engine. The other modules are the Python reference,
which says what every engine has to do; `select` chooses which one runs, and why.
"""
