from __future__ import annotations

import numpy as np
import pytest

from samplers import SamplingError, Scores


def test_a_file_gives_back_what_was_saved(tmp_path):
    path = tmp_path / "scores.npz"
    scores = np.array([1, 2.5, -3], np.float32)
    features = np.ones((3, 2), np.float32)
    Scores(scores, "forgetting", {"epochs": 20, "model": "resnet18"}, features).save(path)
    loaded = Scores.load(path, 3)
    np.testing.assert_array_equal(loaded.scores, scores)
    np.testing.assert_array_equal(loaded.features, features)
    assert (loaded.method, loaded.metadata) == ("forgetting", {"epochs": 20, "model": "resnet18"})
    assert [file.name for file in tmp_path.iterdir()] == ["scores.npz"]


@pytest.mark.parametrize("where", ["folder", "none/a.npz"])
def test_a_file_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path, where):
    (tmp_path / "folder").mkdir()  # takes the name: what was written can't be moved there
    with pytest.raises(SamplingError, match=rf"must be one that can be written; .*{where} can't be: "):
        Scores(np.zeros(2, np.float32), "el2n").save(tmp_path / where)
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


def test_features_may_be_missing(tmp_path):
    Scores(np.zeros(2, np.float32), "el2n").save(tmp_path / "a.npz")
    assert Scores.load(tmp_path / "a.npz", 2).features is None


def test_a_file_for_another_set_is_refused(tmp_path):
    Scores(np.zeros(2, np.float32), "el2n").save(tmp_path / "a.npz")
    with pytest.raises(SamplingError, match=r"each of the set's 3 samples; .*a\.npz has shape \(2,\)"):
        Scores.load(tmp_path / "a.npz", 3)


@pytest.mark.parametrize("content", [None, b"", b"nothing of the kind", b"PK\x03\x04 cut"])
def test_anything_else_is_refused(tmp_path, content):
    path = tmp_path / "a.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SamplingError, match=r"made by Scores\.save; .*a\.npz"):
        Scores.load(path, 3)


def test_another_archive_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", scores=np.zeros(3, np.float32))
    with pytest.raises(SamplingError, match=r"made by Scores\.save"):
        Scores.load(tmp_path / "a.npz", 3)


def test_a_newer_schema_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", schema=2, scores=np.zeros(3, np.float32), method="x", metadata="{}")
    with pytest.raises(SamplingError, match="must have schema 1"):
        Scores.load(tmp_path / "a.npz", 3)


@pytest.mark.parametrize(
    ("scores", "features", "message"),
    [
        (np.zeros(3), None, "must be float32"),
        (np.zeros((3, 1), np.float32), None, r"shape \(3, 1\)"),
        (np.array([0, np.nan], np.float32), None, "finite; got nan for sample 1"),
        (np.zeros(2, np.float32), np.zeros((3, 1), np.float32), r"finite float32\[2, d\]"),
        (np.zeros(1, np.float32), np.full((1, 1), np.inf, np.float32), "finite"),
    ],
)
def test_what_is_no_score_is_refused(scores, features, message):
    with pytest.raises(SamplingError, match=message):
        Scores(scores, "x", features=features)
