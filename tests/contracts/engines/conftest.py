"""Sets and readers, as every test of engines has them."""

from __future__ import annotations

from engine_fixtures import closing, data, no_thread_left, opened

__all__ = ["closing", "data", "no_thread_left", "opened"]
