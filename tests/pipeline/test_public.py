from __future__ import annotations

import pipeline


def test_the_public_face() -> None:
    assert sorted(pipeline.__all__) == [
        "AUGMENTS",
        "Augment",
        "Batch",
        "Chain",
        "CorruptSampleError",
        "DataError",
        "ENGINES",
        "EnginePart",
        "Loader",
        "MissingExtraError",
        "Mixing",
        "Mixture",
        "PendingIds",
        "RawBatch",
        "Reader",
        "Views",
        "chain",
        "open_dataset",
    ]
    assert all(hasattr(pipeline, name) for name in pipeline.__all__)
