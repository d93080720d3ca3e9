"""What a scheduler drives: validation, the plan, one run of it, asynchronous work, signals, the report."""
