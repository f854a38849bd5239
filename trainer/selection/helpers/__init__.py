"""Helpers of selections: draws, ranks, schedules, checks."""
