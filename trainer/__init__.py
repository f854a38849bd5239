"""Training under a budget: the loop, models, schedules, selections, the ledger."""
