"""Checks that an edge, a ready queue, an engine or a node keeps Meridian's contract.

What is asked:
    contract.py     what an edge backend implements; ready/, engine/ and node/contract.py for the other targets
    rules.py        the rules, from rules.toml; levels.py leaves out those that came after a level of the suite
    require.py      how checks speak: a rule is broken, a situation occurred

Three parties:
    model.py        the independent model, lists only
    reference.py    Meridian's own edge as a backend
    backends.py     finds the candidate by its name

How it is looked for:
    checks.py       what a check is, and how hard it looks
    directed.py     single questions
    exhaustive.py   all short histories
    machine.py      drawn histories
    schedules.py    waiting, in virtual time
    threads.py      real threads
    crash.py        death and reopening
    overhead.py     what metrics cost; paired.py compares two costs
    session.py      one history, judged step by step
    faults/         mistakes that prove the checks; selftest.py shows that each is caught by its own rule

What comes of it:
    runner.py       from a backend to verdicts.py; waivers.py knows which deviations are known
    failures.py     histories as files; replay.py plays and shrinks them; differ.py compares backends
    reports/        result.json, junit.xml, report.html, badges, tables

Who asks:
    cli.py          the command `meridian-conform`
    plugin.py       pytest's side; light, because pytest imports it at every start
    suite/          the rules as tests, answered by suite_run.py
"""

__all__ = ["__version__"]

__version__ = "2.0.0"
