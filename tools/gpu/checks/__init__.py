"""One file per section: ``check(setting) -> Outcome``."""
