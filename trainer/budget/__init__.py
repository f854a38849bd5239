"""Parts of a run's account: FLOPs of passes, budgets in hours, and plans of orders and rounds."""
