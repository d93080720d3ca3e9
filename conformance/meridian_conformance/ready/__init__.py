"""The second kind of target: a ready queue with its fairness strategy."""
