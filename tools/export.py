"""``trainer export``: writes a run's network for others, with a model card."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
import torch
import tyro
from rich.console import Console
from torch import Tensor, nn

from pipeline import DataError
from pipeline.errors import one_line
from pipeline.formats import is_converted, open_dataset
from pipeline.formats.whole import write_whole
from pipeline.sources.protocol import Source
from pipeline.sources.stored_images import StoredImages
from tools.model_card import model_card
from tools.outputs import check_output_folder
from tools.streams import say
from trainer import recipe
from trainer.data import paths
from trainer.errors import RunError
from trainer.inference.backbone import Layout, open_backbone, write_backbone
from trainer.inference.exported import MODEL_FILE, described, save_exported
from trainer.inference.graphs import onnx_bytes, program_bytes
from trainer.inference.labeled import open_images
from trainer.inference.trained import Trained, open_trained

Form = Literal["safetensors", "pt2", "onnx", "backbone", "torchvision", "timm"]
_COMPARED = 16
"""Images that graphs are compared with the network on."""


@dataclass(frozen=True)
class Export:
    """Write a run's network for others: weights, classes (labels, values), preprocessing, and a model card.

      trainer export runs/photos
      trainer export runs/photos --formats safetensors onnx pt2 --out photos-resnet/
      trainer export runs/features --formats backbone torchvision

    safetensors: `trainer.load("photos-resnet")` and `trainer predict photos-resnet ...` read it, on another
    machine, without the run or its data. pt2 (torch.export) and onnx (opset 18) take normalized images of a
    batch of any size and return logits, or values; both are run on images of the test set and compared.

    backbone, torchvision, timm: the weights without the classifier, under the network's own names, or of
    ResNets under the library's, as .safetensors; also of runs without labels. Ours have a 3x3 stem in place
    of the libraries' 7x7.
    """

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run folder."""

    formats: tuple[Form, ...] = ("safetensors",)
    """Formats to write: safetensors, pt2, onnx, backbone, torchvision, timm, or several."""

    best: bool = False
    """Use the checkpoint of the best evaluation, where the run has --keep-best, not the last one."""

    out: Path | None = None
    """Folder to write to; by default export/ in the run folder."""

    images: str | None = None
    """Images to compare graphs on: a data set or a folder; by default the run's own test set."""

    def execute(self, console: Console) -> int:
        """Write the files.

        Raises
        ------
        RunError
            When the folder holds no network, or it can't be exported so.
        MissingExtraError
            Without the packages that a form needs.
        DataError
            When files can't be read or written.
        """
        if not self.formats:
            raise RunError(f"formats must name one of {', '.join(get_args(Form))}; got none")
        out = self.out or self.run / "export"
        check_output_folder(out)
        layouts = [form for form in self.formats if form in get_args(Layout)]
        if layouts:
            self._backbone(out, layouts, console)
        if len(layouts) == len(self.formats):
            return 0
        trained = open_trained(self.run, "cpu", best=self.best)
        for note in trained.notes:
            say(f"note: {one_line(note)}")
        model = recipe.to_table(trained.run)["model"]
        description = described(trained.predictor, model)
        written: dict[str, str] = {}
        # Graphs first: what can't be exported leaves nothing behind.
        content: dict[str, bytes] = {}
        for form, make in (("pt2", program_bytes), ("onnx", onnx_bytes)):
            if form in self.formats:
                images = self._images(trained)
                network = plain(trained.predictor.network)
                content[form], off = make(network, images, description)
                written[f"model.{form}"] = (
                    f"outputs within {off:.1e} of the network's on {len(images)} images"
                )
        out.mkdir(parents=True, exist_ok=True)
        if "safetensors" in self.formats:
            save_exported(out / MODEL_FILE, trained.predictor, model)
            written = {MODEL_FILE: "weights, classes and preprocessing", **written}
        for form, data in content.items():
            write_whole(out / f"model.{form}", data)
        write_whole(out / "README.md", model_card(trained, written).encode())
        for name, what in {**written, "README.md": "the model card"}.items():
            size = (out / name).stat().st_size / 1e6
            shown = f"{size:,.1f} MB" if size >= 0.1 else f"{size * 1000:,.1f} kB"
            line = f"{out / name} ({shown}): {what}"
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        return 0

    def _backbone(self, out: Path, layouts: list[Any], console: Console) -> None:
        backbone = open_backbone(self.run, best=self.best)
        for note in backbone.notes:
            say(f"note: {one_line(note)}")
        for layout in layouts:
            backbone.state(layout)
        out.mkdir(parents=True, exist_ok=True)
        for layout in layouts:
            path = out / f"{layout}.safetensors"
            write_backbone(path, backbone, layout)
            names = "its own names" if layout == "backbone" else f"{layout}'s names"
            line = (
                f"{path} ({path.stat().st_size / 1e6:,.1f} MB): weights without the classifier, under {names}"
            )
            console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _images(self, trained: Trained) -> Tensor:
        """Return network inputs of real images, float32[n, 3, H, W]."""
        source = self._source(trained)
        indices = np.unique(np.linspace(0, len(source) - 1, _COMPARED).astype(int)).tolist()
        return trained.predictor.inputs(source, indices).float().contiguous()

    def _source(self, trained: Trained) -> Source:
        if self.images is not None:
            found = open_images(self.images, None, trained.run.data_dir, "none")
            return StoredImages(found) if is_converted(found) else found
        path = paths(trained.run)[1]
        try:
            return StoredImages(open_dataset(path))
        except DataError as error:
            raise RunError(
                f"graphs are compared with the network on real images, of the run's test set; {path} can't "
                f"be read ({error}): name others by --images"
            ) from None


def plain(network: nn.Module) -> nn.Module:
    """Return a copy of a network as exporters take it: float32, contiguous, without gradients."""
    taken = copy.deepcopy(network).float().to(memory_format=torch.contiguous_format).eval()
    return taken.requires_grad_(False)
