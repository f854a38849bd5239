"""Run: everything that a training run's result depends on, typed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipeline.augment import Augment
from pipeline.engines import EngineConfig
from pipeline.resolution import ResolutionConfig
from samplers import SamplerConfig, ScoringConfig
from trainer.errors import RunError
from trainer.evaluators import EvaluatorConfig
from trainer.methods import MethodConfig
from trainer.metrics import Metric, metrics_of
from trainer.models import ModelConfig, Published
from trainer.optimizers import OptimizerConfig
from trainer.schedules import ScheduleConfig
from trainer.selection import SelectionConfig
from trainer.settings import augmentations, fitting, rules
from trainer.settings.streams import Stream
from trainer.sinks import SinkConfig, check_sinks, with_json_lines
from trainer.slots import SLOTS

_IN_REPR = ("sampler", "selection", "method", "optimizer", "augment")
"""Slots whose parts are shown where they aren't the default ones."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The plain-valued settings of a run."""

    data: str = "fashion_mnist"
    """Data set: a name under the data directory, converted on first use, or the path of a training .beton or
    .wds."""

    test_data: str | None = None
    """Path of the .beton or .wds to evaluate on; "validation" is the set that `trainer convert --validation`
    held out; None takes the test set that goes with --data."""

    labelled: float = 1.0
    """Fraction of the training samples that are trained on with their labels, drawn class by class. The
    rest is a stream whose data is "rest", for methods that learn from unlabelled images."""

    labels_per_class: int | None = None
    """Labelled samples of each class, in place of a fraction; a smaller number's samples are a larger
    one's."""

    labelled_every: int | None = None
    """Every how many samples of the set one is labelled, in place of a fraction: for the frames of videos."""

    labelled_list: Path | None = None
    """File with the labelled samples' names or ids, one per line, in place of a fraction."""

    labelled_seed: int = 0
    """Seed of the choice of labelled samples: keep it while other seeds change."""

    multiply: int = 1
    """Number of copies of each sample in the training set, each a sample with an augmentation of its own
    (see --augment multi). Nothing is stored twice."""

    multiply_classes: float = 1.0
    """Fraction of the classes whose samples are multiplied; the others occur once. The accuracies of the two
    groups are then recorded separately."""

    multiply_seed: int = 0
    """Seed of the choice of classes to multiply: keep it while other seeds change."""

    budget: float = 0.3
    """Compute budget B in (0, 1]: the fraction of a full training's samples to train on."""

    counts: Literal["trained", "compute"] = "trained"
    """Unit of the budget. trained: samples trained on, with scoring free, as the papers do. compute: all
    passes by their cost, scoring as measured on this device, and other resolutions by the network's FLOPs."""

    budget_hours: float | None = None
    """Hours to train for, in place of --budget: the schedule follows the measured speed and ends with them.
    Earlier sittings of a run count. Such a run repeats in distribution, not bit for bit."""

    budget_clock: Literal["training", "wall"] = "training"
    """Clock of --budget-hours. training: without evaluations and checkpoints. wall: with them, the last ones
    included. Set-up and compilation are outside of both."""

    price_per_hour: float | None = None
    """Price of an hour of this machine, in any currency: the report then shows what the run cost, set-up,
    evaluations and checkpoints included."""

    epochs: float = 200
    """Epochs T of the full-budget training, which the budget is a fraction of. With --multiply, an epoch is
    one of all copies: divide T by the growth of the set to keep the number of steps."""

    batch_size: int = 128
    """Samples per optimizer step, over all devices."""

    accumulate: int = 1
    """Micro-batches that each step's batch goes forward and backward in, to save memory. Images are mixed
    before; batch normalization takes each micro-batch's statistics, ordered_sgd each one's highest losses."""

    gradient_checkpointing: bool = False
    """Keep only the inputs of a network's blocks for the backward pass, which recomputes the rest: less
    memory for about a third more time."""

    clip_norm: float | None = None
    """Largest norm of a step's gradient, of all weights together; a longer one is scaled down to it."""

    ema: float | None = None
    """Decay of a moving average of the weights, .9998 say, with timm's warm-up: 1 - t^(-2/3) at first. The
    averaged weights are what is evaluated and exported. None keeps no average."""

    mean: tuple[float, float, float] | None = None
    """Mean per channel to normalize by, of pixels in [0, 1]; None means the data set's, from its card."""

    std: tuple[float, float, float] | None = None
    """Standard deviation per channel to normalize by; None means the data set's."""

    seed: int = 0
    """Seed of all random numbers; initialization, orders, augmentation and selection use separate streams."""

    init_seed: int | None = None
    """Seed of the initial weights; None means --seed."""

    order_seed: int | None = None
    """Seed of the orders; None means --seed."""

    augment_seed: int | None = None
    """Seed of the augmentation; None means --seed."""

    selection_seed: int | None = None
    """Seed of the selection; None means --seed."""

    init_from: Path | None = None
    """Run folder, or file (.safetensors, .pt), whose weights to begin from, fitted by name and shape; None
    begins from random ones, or from --model.pretrained."""

    freeze: tuple[str, ...] = ()
    """Parts of the network that aren't trained, by the names of its parameters up to a dot, as in `--freeze
    stem blocks.0`; backbone for all but the classifier. Batch normalization in them keeps its statistics."""

    train_until: tuple[str, ...] = ()
    """Parts of the network that are trained for a fraction of the budget, as in `--train-until stem=0.5`: the
    schedule of their learning rates ends there, as FreezeOut's (Brock et al. 2017), and they stay as they are
    then."""

    scoring: Literal["eval", "train"] = "eval"
    """Mode of the network when a selection scores: eval normalizes by running statistics, train by the
    candidates' own. The statistics stay as they are in both."""

    round_length: float = 1.0
    """Length of a round in epochs of N * B trained samples; below 1 the sampler sees its feedback sooner."""

    oscillation: float = 0.0
    """Depth d of PODS: rounds hold 1 - d and 1 + d of their usual samples in turn, at the same total; 0 keeps
    them alike. For every sampler but scan."""

    oscillation_rounds: int = 1
    """Rounds of each low and each high phase of --oscillation."""

    service: Literal["inline", "thread", "process"] = "inline"
    """Where the sampler draws its orders: in the loop, or beside it. The orders are the same."""

    lead: int = 0
    """Steps before a round's end at which the next order is drawn, from the feedback so far."""

    evaluate_every: int = 1
    """Number of rounds between evaluations; the last round is always evaluated."""

    primary_metric: str | None = None
    """Metric that reports compare runs by, one of those that --evaluator measures; None takes the first
    evaluator's own: accuracy for classification."""

    evaluation_resolution: int | float = 1.0
    """Resolution of evaluation: up to 1 a fraction of the full resolution, above 1 pixels of the shorter
    side."""

    evaluation_crop: float | None = None
    """Side of the square evaluated in the middle of each image, by its shorter side; None takes whole images,
    and .875 (224 of 256) where they differ in shape."""

    log_every: int = 20
    """Steps between two lines of steps.jsonl; without a selection the device is waited for only here, on a
    GPU for what it did an interval before."""

    checkpoint_seconds: float = 60
    """Minimum seconds between two checkpoints."""

    keep_best: bool = False
    """Keep the checkpoint of the best evaluation by the primary metric as checkpoint/best.pt, beside the last
    one. What is reported stays the last round's."""

    accept_changed_data: bool = False
    """Resume with a data set, or another file that is read, changed since the run began, which is noted in
    environment.json; and take scores files of another training set of as many samples."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:N. auto takes CUDA where there is one."""

    precision: Literal["auto", "bf16", "fp16", "tf32", "fp32", "fp64"] = "auto"
    """bf16 is autocast of the forward pass; auto takes it where the device computes in it. fp16, for GPUs
    that don't, scales losses and leaves out steps that overflow; passes without training are then fp32. tf32
    is float32 whose products a GPU rounds to ten bits, as it does those of float32 beside bf16 and fp16; with
    fp32 it doesn't. fp64 is for comparing machines: the losses of two agree to many digits, at several times
    the cost."""

    deterministic: bool = False
    """On a GPU, take only kernels whose sums have one order, and don't try which are fastest: a run then
    repeats bit for bit, and is slower. On a CPU it does anyway."""

    channels_last: bool = True
    """Keep images and weights in channels_last memory format."""

    compile: bool = False
    """Compile training steps and scoring passes with torch.compile before the clock starts."""

    threads: int | None = None
    """CPU threads within an operation; None means PyTorch's default."""

    prefetch: int = 3
    """Batches that the loader reads ahead of the training, where its engine reads in a thread."""

    data_dir: Path | None = None
    """Folder of data sets; None means $BUDGETRAIN_DATA, else ./data."""

    runs_dir: Path = Path("runs")
    """Folder in which run folders are made."""

    name: str | None = None
    """Name of the run folder; None makes one of recipe, parts, budget, seed and a digest of all settings."""

    def __post_init__(self) -> None:
        rules.check_settings(self)

    def seed_of(self, purpose: Literal["init", "order", "augment", "selection"]) -> int:
        """Return the seed of one purpose: its own, or else ``seed``."""
        own: int | None = getattr(self, f"{purpose}_seed")
        return self.seed if own is None else own


@dataclass(frozen=True, kw_only=True)
class Run(Settings):
    """Everything that a run's result depends on: the settings, and one part for each slot.

    A chain of augmentations that names no crop is completed by the standard one: see
    `trainer.settings.augmentations`.
    """

    recipe: str = "custom"
    """Name of the recipe that this run is based on."""

    model: ModelConfig = field(default_factory=SLOTS["model"].make)
    sampler: SamplerConfig = field(default_factory=SLOTS["sampler"].make)
    augment: tuple[Augment, ...] = field(default_factory=lambda: (SLOTS["augment"].make(),))
    schedule: ScheduleConfig = field(default_factory=SLOTS["schedule"].make)
    optimizer: OptimizerConfig = field(default_factory=SLOTS["optimizer"].make)
    method: MethodConfig = field(default_factory=SLOTS["method"].make)
    evaluator: tuple[EvaluatorConfig, ...] = field(default_factory=lambda: (SLOTS["evaluator"].make(),))
    sinks: tuple[SinkConfig, ...] = field(default_factory=lambda: (SLOTS["sinks"].make(),))
    engine: EngineConfig = field(default_factory=SLOTS["engine"].make)
    resolution: ResolutionConfig = field(default_factory=SLOTS["resolution"].make)
    selection: SelectionConfig = field(default_factory=SLOTS["selection"].make)
    streams: tuple[Stream, ...] = ()
    """Further streams of images, one for each that the method names."""

    def __post_init__(self) -> None:
        super().__post_init__()
        fitting.check(self)
        if self.init_from is not None and isinstance(self.model, Published) and self.model.pretrained:
            raise RunError(
                f"weights must begin from one source; got --init-from {self.init_from} and "
                "--model.pretrained: leave one out"
            )
        augmentations.check(self.augment)
        object.__setattr__(
            self, "augment", augmentations.complete(self.augment, augmentations.base_of((), self.data))
        )
        metrics_of(self.evaluator, self.primary_metric, self.method)
        check_sinks(self.sinks)
        object.__setattr__(self, "sinks", with_json_lines(self.sinks))

    def __repr__(self) -> str:
        shown = {slot: SLOTS[slot].shown(self) for slot in ("model", *_IN_REPR)}
        more = "".join(f", {slot} {shown[slot]}" for slot in _IN_REPR if shown[slot] != SLOTS[slot].default)
        if self.budget_hours is not None:
            cost = f"{self.budget_hours:g} hours"
        else:
            of = " of the compute" if self.counts == "compute" else ""
            cost = f"{self.budget:.4g}{of} of {self.epochs:g} epochs"
        what = f"{self.recipe}: {shown['model']} on {self.data}, {cost} in batches of {self.batch_size}"
        return f"Run({what}{more}, seed {self.seed})"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All metrics of its evaluators and its method, the primary metric first."""
        return metrics_of(self.evaluator, self.primary_metric, self.method)

    @property
    def metric(self) -> Metric:
        """The primary metric: the one that the run is judged by."""
        return self.metrics[0]

    @property
    def asks(self) -> Literal["forward", "gradient"] | None:
        """Cost of the scores that the sampler requests: "forward" or "gradient"; None if it requests none."""
        return self.sampler.asks if isinstance(self.sampler, ScoringConfig) else None
