"""``trainer export``: what others are handed, and that it is the run's network."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import trainer
from tools.cli import main
from tools.export import plain
from trainer.errors import RunError
from trainer.inference.graphs import program_bytes

README = Path(__file__).parents[2] / "README.md"


def test_safetensors_are_loaded_without_the_run_and_predict_alike(
    photographs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("safetensors")
    out = tmp_path / "handed over"
    assert main(["export", str(photographs.square), "--out", str(out)]) == 0
    assert "the model card" in capsys.readouterr().out
    images = [str(path) for path in photographs.test]
    model = trainer.load(out, "cpu")
    assert model.predict(images) == trainer.load(photographs.square, "cpu").predict(images)
    card = (out / "README.md").read_text()
    last = json.loads((photographs.square / "evaluations.jsonl").read_text().splitlines()[-1])["metrics"]
    for text in (
        "`dark`, `light`, `red`",
        f"{last['accuracy']:.2%}",
        "100% of 4 epochs",
        "square",
        "torch 2",
    ):
        assert text in card
    assert 'trainer.load("model.safetensors")' in card
    assert main(["predict", str(out), images[0], "--device", "cpu"]) == 0
    assert capsys.readouterr().out.startswith("image,class,probability\n")


def test_the_readmes_three_lines_use_an_export(
    photographs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("safetensors")
    assert main(["export", str(photographs.square), "--out", str(tmp_path)]) == 0
    shutil.copy(next(path for path in photographs.test if path.suffix == ".jpg"), tmp_path / "cat.jpg")
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    (code,) = (
        text for text in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL) if ".load(" in text
    )
    exec(code, {})
    assert re.match(r"cat\.jpg: (dark|light|red) \d+\.\d%, ", capsys.readouterr().out)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_graphs_give_the_networks_logits_for_batches_of_any_size(photographs: Any, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    out = tmp_path / "out"
    assert main(["export", str(photographs.varied), "--formats", "onnx", "pt2", "--out", str(out)]) == 0
    model = trainer.load(photographs.varied, "cpu")
    session = onnxruntime.InferenceSession(out / "model.onnx")
    extra = {"budgetrain.json": ""}
    program = torch.export.load(out / "model.pt2", extra_files=extra).module()
    entries = {entry.key: entry.value for entry in onnx.load(out / "model.onnx").metadata_props}
    assert entries["budgetrain"] == extra["budgetrain.json"]
    about = json.loads(entries["budgetrain"])
    assert about["classes"] == ["dark", "light", "red"]
    assert about["input"] == {"height": 32, "width": 32, "channels": 3}
    assert about["preprocessing"]["crop"] == 0.875
    for count in (1, 5):
        images = model.preprocess([str(path) for path in photographs.test[:count]]).contiguous()
        with torch.no_grad():
            wanted = model.network(images)
        (found,) = session.run(["logits"], {"images": images.numpy()})
        assert np.abs(found - wanted.numpy()).max() < 1e-4
        assert (program(images) - wanted).abs().max() < 1e-4


class Branching(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3)) if images.sum() > 0 else images.amax(dim=(2, 3))


def test_a_network_that_cannot_be_followed_is_one_line() -> None:
    with pytest.raises(
        RunError, match=r"torch\.export must be able to follow the network to export pt2"
    ) as told:
        program_bytes(plain(Branching()), torch.zeros(2, 3, 8, 8), "{}")
    assert "\n" not in str(told.value)
    assert str(told.value).endswith("export safetensors, or train another --model")


def test_a_missing_package_and_missing_images_are_one_line(
    photographs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        for name in ("onnx", "safetensors", "safetensors.torch"):
            patched.setitem(__import__("sys").modules, name, None)
        for form in ("onnx", "safetensors"):
            assert (
                main(["export", str(photographs.square), "--formats", form, "--out", str(tmp_path / "x")])
                == 2
            )
            said = capsys.readouterr().err
            assert "pip install 'budgetrain[export]'" in said
            assert said.count("\n") == 1
    moved = tmp_path / "moved"
    shutil.copytree(photographs.square, moved)
    text = (moved / "run.toml").read_text().replace("/data/square/", "/data/gone/")
    (moved / "run.toml").write_text(text)
    assert main(["export", str(moved), "--formats", "pt2"]) == 2
    assert "name others by --images" in capsys.readouterr().err
    assert not (moved / "export").exists()


def test_other_files_are_no_exports(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    bare = tmp_path / "bare.safetensors"
    safetensors.save_file({"weight": torch.zeros(3)}, bare)
    with pytest.raises(RunError, match="must be an export of `trainer export`"):
        trainer.load(bare)
    bare.write_bytes(b"nothing")
    with pytest.raises(RunError, match=r"must be a whole \.safetensors file"):
        trainer.load(bare)
    with pytest.raises(RunError, match="which does not exist"):
        trainer.load(tmp_path / "none")


def test_a_folder_that_can_not_be_written_is_refused_before_the_work(
    photographs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    for command in (["export", str(photographs.square)], ["range", "fashion_mnist_cpu"]):
        assert main([*command, "--out", str(file / "x")]) == 2
        told = f"files can't be written into {file / 'x'}: name another folder by --out\n"
        assert capsys.readouterr().err == f"trainer {command[0]}: {told}"
        assert main([*command, "--out", str(file)]) == 2
        assert "--out must be a folder; got the file" in capsys.readouterr().err
