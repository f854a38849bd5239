"""What selections share: draws, ranks, schedules, checks."""
