"""``trainer score``: makes a file of per-sample scores, for subset, sample_importance and rho_loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from pipeline.formats import Converted, open_dataset
from samplers import Scores
from samplers.grouping.coreset import as_scores, facility_location, k_center
from tools.outputs import check_output
from tools.progress import TerminalWatcher
from tools.recipe_line import read_run
from tools.score_options import CORESETS, NEEDS, WEIGHTS, ScoreOptions
from tools.score_runs import loaded, trained_on
from trainer import config, recipe
from trainer.data import open_data, paths
from trainer.errors import RunError
from trainer.loop import train
from trainer.parallel import World
from trainer.run_folder import RunFolder, folder_name
from trainer.scores.examples import (
    check_holdout,
    el2n,
    features,
    gradient_norms,
    irreducible_losses,
    last_errors,
)
from trainer.scores.table import TRAJECTORIES
from trainer.scores.trajectories import EpochWatcher
from trainer.session import Session
from trainer.settings import comparison
from trainer.settings.fitting import check_metric
from trainer.slots import SLOTS

DESCRIPTION = """Score every training sample by networks trained for it, or by those of finished runs.

  trainer score cifar10 --out el2n.npz
  trainer run cifar10 --sampler subset --sampler.scores el2n.npz --sampler.keep 0.7

Other choices of a subset go with scores of their own, measured after every epoch of training: strata over the
area under the margin without the hardest tenth (CCS), and draws by difficulty and uncertainty (DUAL):

  trainer score cifar10 --metric aum --out aum.npz
  trainer run cifar10 --sampler subset --sampler.scores aum.npz --sampler.choice ccs --sampler.cut 0.1
  trainer score cifar10 --metric dual --out dual.npz
  trainer run cifar10 --sampler subset --sampler.scores dual.npz --sampler.choice dual

Images without a recipe are converted and scored as `trainer run` takes them: trainer score photos/.

Networks are trained by the recipe on the whole set, at a constant learning rate, for --after epochs, each
from a different seed; their run folders are kept, so that a stopped scoring resumes with the same command.
The rate is that of the first epochs of long step-wise schedules, from which the published weights and EL2N
scores come; --runs scores by networks of any other schedule.

The weights of sample_importance can come from networks of other seeds, other models, or several networks;
--after is its E:

  trainer score cifar10 --metric p --networks 4 --each --out w.npz
  trainer run cifar10 --sampler sample_importance --sampler.scores w.npz
  trainer run cifar10 --sampler sample_importance --sampler.scores w-s2.npz --sampler.epochs 0

Irreducible losses are of a set that the network was not trained on. It trains on --data, a holdout set, with
the recipe's own schedule, and the cost of this and of scoring is charged to the run that uses the file:

  trainer convert cifar10 d/train.beton --validation 0.1
  trainer convert cifar10 d/test.beton --split test
  trainer score cifar10 --metric irreducible_loss --of d/train.beton --data d/train-validation.beton
  trainer run cifar10 --data d/train.beton --selection rho_loss --selection.irreducible scores.npz
"""


@dataclass(frozen=True, slots=True)
class _Scored:
    """The session of one network, its scores, and mean probabilities where they go with them."""

    session: Session
    scores: NDArray[np.float32]
    p_true: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Score:
    """The `score` command."""

    run: config.Run
    options: ScoreOptions

    @classmethod
    def from_words(cls, words: Sequence[str], prog: str) -> Score:
        """Parse a command line: the recipe, then options of the scoring and of the training.

        Raises
        ------
        UsageError, RunError
            As `read_run` does.
        """
        run, options = read_run(words, prog, DESCRIPTION, ScoreOptions)
        if options.metric == "irreducible_loss" and options.of is None:
            if not recipe.is_recipe(words[0]):
                raise RunError(
                    "irreducible losses must be of another set than the network trains on; got "
                    f"{words[0]} for both: convert it with --validation, and give a recipe the two, by --of "
                    "and --data"
                )
            named = dataclasses.replace(run, data=recipe.load(words[0]).data)
            options = dataclasses.replace(options, of=paths(named)[0])
        return cls(run, options)

    def execute(self, console: Console) -> int:
        """Train or load the networks, score, and write the file."""
        self._check_metric(self.run)
        # Every file of scores names its method; arrays of images don't.
        count = self.options.count
        each = [self._path(number) for number in range(count)] if self.options.each else []
        if len(set(each)) < len(each):
            raise RunError("--each names files by run folders, which must differ in name; leave --each out")
        for path in (self.options.out, *each):
            check_output("--out", path, "scores.npz", mark=b"method.npy")
        columns: list[NDArray[np.float32]] = []
        p_true: list[NDArray[np.float32] | None] = []
        seen: NDArray[np.float32] | None = None
        costs: list[dict[str, float]] = []
        digests: set[str | None] = set()
        coreset = self.options.metric in CORESETS
        other = None if self.options.of is None else open_dataset(self.options.of)
        source: config.Run | None = None
        for number in range(count):
            made = self._score(number, coreset, other, console)
            session, column = made.session, made.scores
            source = source or session.run
            if coreset:
                seen = column
            else:
                columns.append(column)
                p_true.append(made.p_true)
            ledger = session.ledger
            costs.append({name: getattr(ledger, name) for name in ("trained", "scored", "gradients")})
            costs[-1]["compute"] = session.account.compute
            costs[-1]["seed"] = session.run.seed
            digests.add(trained_on(session))
            if len(digests) > 1:
                raise RunError(
                    f"networks that score together must be of one training set; {self.options.runs[number]} "
                    "was trained on another: leave it out"
                )
        scores = self._mean(columns) if seen is None else self._choose(seen)
        assert source is not None
        cost = {name: sum(one[name] for one in costs) for name in costs[0]}
        about: dict[str, Any] = {"networks": max(1, len(columns)), "data_sha256": digests.pop()}
        if getattr(TRAJECTORIES.get(self.options.metric), "least_window", 0):
            about["window"] = self.options.window
        if other is not None:
            about |= {"data_sha256": other.card.digest, "holdout_sha256": about["data_sha256"]}
        about["recipe"] = source.recipe
        if source.budget_hours is None:
            about["after_epochs"] = source.epochs * source.budget
        else:
            about["after_hours"] = source.budget_hours
        self.options.out.parent.mkdir(parents=True, exist_ok=True)
        for number, path in enumerate(each):
            one = {**about, **costs[number], "networks": 1}
            Scores(columns[number], self.options.metric, one, p_true=p_true[number]).save(path)
        about |= {**cost, "seed": source.seed}
        if self.options.metric in WEIGHTS and len(columns) > 1:
            about["gamma"] = self.options.gamma
        known = [mean for mean in p_true if mean is not None]
        mean = np.stack(known).mean(axis=0, dtype=np.float64).astype(np.float32) if known else None
        Scores(scores, self.options.metric, about, seen, mean).save(self.options.out)
        console.print(
            f"{self.options.metric} of {len(scores):,} samples: {self.options.out}\n"
            f"cost: {cost['trained']:,} samples trained, {cost['scored'] + cost['gradients']:,} scored",
            soft_wrap=True,
            highlight=False,
        )
        return 0

    def _check_metric(self, run: config.Run) -> None:
        check_metric(run.method, self.options.metric, NEEDS.get(self.options.metric, ()))

    def _path(self, number: int) -> Path:
        """Return the path of one network's scores: beside the mean, named by its seed or run folder."""
        out, runs = self.options.out, self.options.runs
        name = runs[number].resolve().name if runs else f"s{self.run.seed + number}"
        return out.with_name(f"{out.stem}-{name}{out.suffix}")

    def _mean(self, columns: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the mean over networks: of powers --gamma if scores become weights, else of the scores."""
        table = np.stack(columns).astype(np.float64)
        if self.options.metric in WEIGHTS and len(columns) > 1:
            # Ratios to the largest, whose powers don't overflow.
            top = table.max(axis=0)
            ratios = np.divide(table, top, out=np.zeros_like(table), where=top > 0)
            mean = top * (ratios**self.options.gamma).mean(axis=0) ** (1 / self.options.gamma)
        else:
            mean = table.mean(axis=0)
        return np.asarray(mean, np.float32)

    def _score(self, number: int, coreset: bool, other: Converted | None, console: Console) -> _Scored:
        """Return the session of one network, trained or of a finished run, and its scores."""
        if self.options.metric in TRAJECTORIES:
            return self._trajectory(number, console)
        if self.options.runs:
            session = loaded(self.options.runs[number])
        else:
            run = self.scoring_run(number)
            folder = RunFolder(run.runs_dir / folder_name(run), run)
            with TerminalWatcher(console) as watcher:
                if other is not None:
                    check_holdout(open_data(run, World(), watcher.converting).train, other)
                session = train(run, folder, World(), watcher)
        try:
            self._check_metric(session.run)
            if other is not None:
                check_holdout(session.data.train, other)
                return _Scored(session, irreducible_losses(session, other))
            return _Scored(session, features(session) if coreset else _SCORES[self.options.metric](session))
        finally:
            session.close()

    def _trajectory(self, number: int, console: Console) -> _Scored:
        run, metric = self.scoring_run(number), self.options.metric
        folder = RunFolder(run.runs_dir / folder_name(run), run)
        watcher = EpochWatcher(TRAJECTORIES[metric](self.options.window), metric)
        console.print(f"network {number + 1} of {self.options.count}: {run.epochs:g} epochs")
        session = train(run, folder, World(), watcher)
        session.close()
        return _Scored(session, watcher.trajectory.scores(), watcher.trajectory.p_true())

    def scoring_run(self, number: int) -> config.Run:
        """Return the recipe's run on the whole set without selection, with its own seed.

        At a constant rate, as in the first epochs of the papers' step-wise schedules, except for irreducible
        losses, which are those at the end of training. Without --name its folder is named by metric, epochs,
        seed and a digest of all settings, the data among them.
        """
        seed = self.run.seed + number
        ends = self.options.metric == "irreducible_loss"
        run = dataclasses.replace(
            self.run,
            epochs=self.options.epochs,
            budget=1.0,
            budget_hours=None,
            budget_clock="training",
            round_length=1.0,
            oscillation=0.0,
            oscillation_rounds=1,
            evaluate_every=1,
            sampler=SLOTS["sampler"].table["scan"](),
            schedule=self.run.schedule if ends else SLOTS["schedule"].table["constant"](),
            selection=SLOTS["selection"].make(),
            counts="trained",
            seed=seed,
            name=None,
        )
        name = f"score-{run.recipe}-{self.options.metric}-{self.options.epochs:g}-s{seed}"
        name = f"{name}-{comparison.digest(run)[:6]}"
        return dataclasses.replace(run, name=name if self.run.name is None else f"{self.run.name}-s{seed}")

    def _choose(self, seen: NDArray[np.float32]) -> NDArray[np.float32]:
        choose = k_center if self.options.metric == "k_center" else facility_location
        count = max(1, round(self.options.keep * len(seen)))
        return as_scores(choose(seen, count, self.run.seed), len(seen))


_SCORES = {"el2n": el2n, "p": last_errors, "gradient": gradient_norms}
