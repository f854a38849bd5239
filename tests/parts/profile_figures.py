"""Figures of a profile as `trainer profile` writes them, for pages."""

from __future__ import annotations

import random
from typing import Any


def figures(**entries: Any) -> dict[str, Any]:
    """Return the figures of a run that reads ahead, with every part of a page."""
    rng = random.Random(0)

    def row(name: str, milliseconds: float, *, beside: bool = False) -> dict[str, Any]:
        return {
            "stage": name,
            "milliseconds": milliseconds,
            "images_per_second": 64e3 / milliseconds,
            "share": milliseconds / 30,
            "beside": beside,
        }

    def tried(option: str, speedup: float, *, learns: bool = False) -> dict[str, Any]:
        base = [0.03 / 64 * rng.uniform(0.98, 1.02) for _ in range(8)]
        return {
            "option": option,
            "learns": learns,
            "base": base,
            "changed": [value / speedup for value in base],
            "speedup": speedup,
            "low": 0.97 * speedup,
            "high": 1.03 * speedup,
            "significant": abs(speedup - 1) > 0.03,
            "unmeasured": None,
            "batch_size": 64,
        }

    spans: list[list[Any]] = []
    for step in range(1, 11):
        begin = 0.03 * (step - 1)
        spans += [
            ["loader", "draw", begin, begin + 0.002, step],
            ["loader", "read", begin + 0.002, begin + 0.026, step],
            ["loader", "place", begin + 0.026, begin + 0.028, step],
            ["host", "wait", begin, begin + 0.018, step],
            ["host", "augment", begin + 0.018, begin + 0.02, step],
            ["host", "forward", begin + 0.02, begin + 0.023, step],
            ["host", "backward", begin + 0.023, begin + 0.029, step],
            ["host", "optimize", begin + 0.029, begin + 0.0295, step],
        ]
    return {
        "schema": 2,
        "kind": "run",
        "setting": "resnet8 on photographs: batches of 64 at 32 pixels, engine ffcv",
        "settings": {"batch_size": 64, "engine": "ffcv"},
        "environment": {"cpu": "a CPU", "cores": 2, "gpu": None},
        "batch_size": 64,
        "bottleneck": "decoding",
        "gain": 0.6,
        "sentence": "Training waits for JPEG decoding: it takes 24 ms; decode in more threads "
        "(--engine.threads).",
        "groups": {},
        "tried": [
            tried("--engine.threads 4", 1.8),
            tried("--batch-size 128", 0.95, learns=True),
            {"option": "--engine resident", "learns": False, "refused": "it must fit", "batch_size": 64},
        ],
        "untried": [
            {"option": "--compile", "learns": False, "by": "--seconds 60"},
            {"option": "--prefetch 12", "learns": False, "by": "--tries 4"},
        ],
        "disturbed": None,
        "reserve": 30 / 28,
        "gap": row("gap", 0.15),
        "phases_of_step": {"wait": 18.0, "augment": 2.0, "forward": 3.0, "backward": 6.0, "rest": 1.0},
        "trace": {"file": "trace.json", "bytes": 3_100_000, "steps": 10},
        "stages": [
            row("order", 0.05),
            row("reading", 24.0, beside=True),
            row("draws", 2.0, beside=True),
            row("augmentation", 2.0),
            row("forward", 3.0),
            row("backward", 6.0),
            row("optimizer", 0.5),
            row("feedback", 0.1),
            row("rest", 0.2),
        ],
        "augmentations": [row("standard", 1.2), row("normalization", 0.8)],
        "together": row("together", 30.0),
        "cached": row("cached", 11.5),
        "loading": row("loading", 28.0),
        "stall": 0.6,
        "windows": {"loop": [0.03 * rng.uniform(0.98, 1.02) for _ in range(10)]},
        "work": {
            "flops": 1e9,
            "operations": 180,
            "copies": 12,
            "bytes": 40_000_000,
            "beside": 40,
            "peak_flops": 2e11,
            "peak_bytes": 1e10,
            "launch": 3e-6,
        },
        "memory": {
            "owners": {"weights": 80_000, "gradients": 80_000, "activations": 9_000_000, "batches": 800_000},
            "device": "cpu",
            "peak": 900_000_000,
            "free": 4_000_000_000,
            "per_image": 150_000.0,
            "batch_size": 64,
            "samples": 60_000,
            "fits": 24_064,
            "curve": {
                "owners": {
                    "weights": [80_000] * 5,
                    "optimizer": [80_000] * 5,
                    "gradients": [80_000, 80_000, 0, 60_000, 80_000],
                    "activations": [0, 4_000_000, 9_000_000, 3_000_000, 0],
                    "temporary": [100_000, 200_000, 150_000, 1_000_000, 50_000],
                },
                "at": [0, 40, 80, 150, 200],
                "operations": 200,
                "phases": [["augment", 0], ["forward", 20], ["backward", 82], ["optimize", 190]],
            },
        },
        "loader": {
            "engine": "ffcv",
            "unvaried": None,
            "ahead": 3,
            "threads": [
                {"threads": 1, "images_per_second": 2286.0},
                {"threads": 2, "images_per_second": 4200.0},
            ],
            "bytes_per_image": 31_000.0,
            "cold": {"images_per_second": 5000.0, "bytes_per_second": 1.5e8},
        },
        "steps": [0.03 * rng.uniform(0.9, 1.2) for _ in range(60)],
        "slowest": [{"seconds": 0.05, "phases": {"wait": 0.04, "backward": 0.006}}],
        "timeline": spans,
        "overhead": 0.004,
        **entries,
    }
