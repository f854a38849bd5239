from __future__ import annotations

import pipeline


def test_the_public_face() -> None:
    assert sorted(pipeline.__all__) == [
        "AUGMENTS",
        "Augment",
        "Augmentation",
        "Batch",
        "CorruptSampleError",
        "DataError",
        "ENGINES",
        "EngineConfig",
        "Loader",
        "LoaderProfile",
        "MissingExtraError",
        "Mixing",
        "Mixture",
        "PendingIds",
        "RawBatch",
        "Reader",
        "Views",
        "compose",
        "open_dataset",
        "profile",
    ]
    assert all(hasattr(pipeline, name) for name in pipeline.__all__)
