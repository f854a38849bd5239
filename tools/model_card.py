"""Model cards: what somebody who is handed a network's weights should know, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.modes import PIXELS
from tools.answers import ANSWERS
from tools.reporting.metrics import exact
from tools.reporting.wording import count, duration, planned_cost
from trainer.inference.preprocessing import Preprocessing
from trainer.inference.trained import Trained
from trainer.run_folder import RunFolder
from trainer.slots import SLOTS


def model_card(trained: Trained, files: Mapping[str, str]) -> str:
    """Return the model card of a run's network.

    Parameters
    ----------
    files
        What each file beside the card is, by its name.
    """
    run, about = trained.run, trained.predictor.about
    model = SLOTS["model"].named(run)
    spec = trained.description.targets
    answers = ANSWERS[spec.kind](spec)
    heading, paragraphs = answers.outputs
    return "\n".join(
        [
            "---",
            "library_name: budgetrain",
            *([] if answers.tag is None else [f"pipeline_tag: {answers.tag}"]),
            "---",
            "",
            f"# {about['run']}",
            "",
            f"A {model} that {answers.does}, trained on {trained.description.data} by budgetrain.",
            "",
            "## Use",
            "",
            *_use(files, trained.description.preprocessing),
            "",
            "| file | |",
            "|---|---|",
            *(f"| `{name}` | {what} |" for name, what in files.items()),
            "",
            "## Results",
            "",
            *_results(trained),
            "",
            "## Training",
            "",
            *_training(trained),
            "",
            "## Preprocessing",
            "",
            *_preprocessing(trained.description.preprocessing),
            "",
            f"## {heading}",
            "",
            *(line for paragraph in paragraphs for line in (paragraph, "")),
        ]
    )


def _use(files: Mapping[str, str], preprocessing: Preprocessing) -> list[str]:
    lines = []
    if "model.safetensors" in files:
        lines += [
            "```python",
            "import trainer",
            "",
            'model = trainer.load("model.safetensors")',
            'print(model.predict(["photo.jpg"])[0])',
            "```",
            "",
        ]
    shape = ", ".join(map(str, (len(preprocessing.mean), *preprocessing.size)))
    if "model.onnx" in files:
        lines += [
            "```python",
            "import onnxruntime",
            "",
            'session = onnxruntime.InferenceSession("model.onnx")',
            f'(logits,) = session.run(["logits"], {{"images": images}})  # float32[n, {shape}]',
            "```",
            "",
        ]
    return lines[:-1] if lines else [f'`torch.export.load("model.pt2").module()` takes float32[n, {shape}].']


def _results(trained: Trained) -> list[str]:
    found = trained.predictor.about["metrics"]
    rows = [
        f"| {metric.label} | {exact(metric, found[metric.name])} |"
        for metric in trained.run.metrics
        if metric.name in found
    ]
    if not rows:
        return ["Not evaluated."]
    return ["On its test set, at the last evaluation:", "", "| | |", "|---|---|", *rows]


def _training(trained: Trained) -> list[str]:
    run, about = trained.run, trained.predictor.about
    parts = ("sampler", "selection", "augment", "schedule", "optimizer", "method")
    rows = {
        "recipe": run.recipe,
        "budget": planned_cost(run),
        "steps": f"{count(trained.steps)} of {run.batch_size} images",
        **{slot: SLOTS[slot].named(run) for slot in parts},
    }
    folder = RunFolder(trained.folder, run)
    if folder.finished:
        ledger = folder.read("ledger.json")
        rows["samples trained"] = f"{count(ledger['trained'])} of {count(ledger['full_budget_samples'])}"
        rows["training time"] = duration(ledger["train_seconds"])
    rows["device"] = str(folder.environment.get("gpu") or folder.environment.get("cpu"))
    rows["versions"] = ", ".join(
        f"{name} {version}" for name, version in about["versions"].items() if version
    )
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]


_MODES = {"RGB": "RGB", "L": "one channel of gray", "I;16": "one channel of gray, of 16 bits"}


def _preprocessing(asked: Preprocessing) -> list[str]:
    height, width = asked.size
    steps = [f"Decode to {_MODES[asked.mode]}, upright by EXIF."]
    if asked.square is not None:
        steps.append(f"Cut out the central square and resize it to {asked.square}x{asked.square} (bicubic).")
    elif asked.max_resolution is not None:
        steps.append(f"Scale down to at most {asked.max_resolution} pixels on the longer side (bicubic).")
    elif asked.height is not None:
        steps.append(f"Bring other shapes to {asked.height}x{asked.width} around the center (bicubic).")
    if asked.crop is not None:
        steps.append(
            f"Cut out the central square of {asked.crop:g} of the shorter side, and resize it to "
            f"{height}x{width} (bilinear, antialiased)."
        )
    elif asked.size != (asked.height, asked.width):
        steps.append(f"Resize to {height}x{width} (bilinear, antialiased).")
    mean, std = (", ".join(f"{value:.6g}" for value in values) for values in (asked.mean, asked.std))
    steps.append(
        f"Divide by {PIXELS[asked.mode].white}, subtract the mean ({mean}), divide by the standard deviation "
        f"({std})."
    )
    return [f"{number}. {step}" for number, step in enumerate(steps, start=1)]
