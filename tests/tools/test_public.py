"""The commands that a person types."""

from __future__ import annotations

import importlib

from tools.cli import COMMANDS, usage


def test_the_commands() -> None:
    assert list(COMMANDS) == [
        *("run", "study", "profile", "tune", "convert", "inspect", "verify", "report"),
        *("evaluate", "predict", "export", "range", "score", "advise", "augment-gallery", "list", "bench"),
    ]
    for name, (module, command, what) in COMMANDS.items():
        assert callable(getattr(importlib.import_module(module), command).execute)
        assert f"  {name:<16} {what}" in usage()
