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
from tools.score_options import AVERAGED, NEEDS, WEIGHTS, ScoreOptions
from trainer import config, recipe
from trainer.build import build
from trainer.data import digest, open_data, paths
from trainer.errors import RunError
from trainer.hardware.device import choose_device
from trainer.loop import train
from trainer.parallel import World
from trainer.run_folder import RunFolder, folder_name
from trainer.scores.examples import (
    ForgettingWatcher,
    check_holdout,
    el2n,
    features,
    gradient_norms,
    irreducible_losses,
    last_errors,
)
from trainer.session import Session
from trainer.settings import comparison
from trainer.settings.fitting import check_metric
from trainer.slots import SLOTS
from trainer.state import resume

DESCRIPTION = """Score every training sample by networks trained for it, or by those of finished runs.

  trainer score cifar10 --out el2n.npz
  trainer run cifar10 --sampler subset --sampler.scores el2n.npz --sampler.keep 0.7

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
        count = self._networks()
        each = [self._path(number) for number in range(count)] if self.options.each else []
        if len(set(each)) < len(each):
            raise RunError("--each names files by run folders, which must differ in name; leave --each out")
        for path in (self.options.out, *each):
            check_output("--out", path, "scores.npz", mark=b"method.npy")
        columns: list[NDArray[np.float32]] = []
        seen: NDArray[np.float32] | None = None
        costs: list[dict[str, float]] = []
        digests: set[str | None] = set()
        coreset = self.options.metric in ("k_center", "facility_location")
        other = None if self.options.of is None else open_dataset(self.options.of)
        source: config.Run | None = None
        for number in range(count):
            session, column = self._score(number, coreset, other, console)
            source = source or session.run
            if coreset:
                seen = column
            else:
                columns.append(column)
            ledger = session.ledger
            costs.append({name: getattr(ledger, name) for name in ("trained", "scored", "gradients")})
            costs[-1]["compute"] = session.account.compute
            costs[-1]["seed"] = session.run.seed
            digests.add(_trained_on(session))
            if len(digests) > 1:
                raise RunError(
                    f"networks that score together must be of one training set; {self.options.runs[number]} "
                    "was trained on another: leave it out"
                )
        scores = self._mean(columns) if seen is None else self._choose(seen)
        assert source is not None
        cost = {name: sum(one[name] for one in costs) for name in costs[0]}
        about: dict[str, Any] = {"networks": max(1, len(columns)), "data_sha256": digests.pop()}
        if other is not None:
            about |= {"data_sha256": other.card.digest, "holdout_sha256": about["data_sha256"]}
        about["recipe"] = source.recipe
        if source.budget_hours is None:
            about["after_epochs"] = source.epochs * source.budget
        else:
            about["after_hours"] = source.budget_hours
        self.options.out.parent.mkdir(parents=True, exist_ok=True)
        for path, column, own in zip(each, columns, costs, strict=bool(each)):
            Scores(column, self.options.metric, {**about, **own, "networks": 1}).save(path)
        about |= {**cost, "seed": source.seed}
        if self.options.metric in WEIGHTS and len(columns) > 1:
            about["gamma"] = self.options.gamma
        Scores(scores, self.options.metric, about, seen).save(self.options.out)
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

    def _networks(self) -> int:
        options = self.options
        if options.runs:
            return 1 if options.metric in ("k_center", "facility_location") else len(options.runs)
        if options.metric not in AVERAGED:
            return 1
        return (1 if options.metric in WEIGHTS else 10) if options.networks is None else options.networks

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

    def _score(
        self, number: int, coreset: bool, other: Converted | None, console: Console
    ) -> tuple[Session, NDArray[np.float32]]:
        """Return the session of one network, trained or of a finished run, and its scores."""
        if self.options.metric == "forgetting":
            return self._forgetting(number, console)
        if self.options.runs:
            session = _load(self.options.runs[number])
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
                return session, irreducible_losses(session, other)
            return session, features(session) if coreset else _SCORES[self.options.metric](session)
        finally:
            session.close()

    def _forgetting(self, number: int, console: Console) -> tuple[Session, NDArray[np.float32]]:
        run = self.scoring_run(number)
        folder = RunFolder(run.runs_dir / folder_name(run), run)
        data = open_data(run, World(), lambda name, done, total: None)
        watcher = ForgettingWatcher(len(data.train))
        console.print(f"network {number + 1} of {self._networks()}: {run.epochs:g} epochs")
        session = train(run, folder, World(), watcher)
        session.close()
        return session, watcher.forgetting.scores()

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


def _trained_on(session: Session) -> str | None:
    """Return the digest of the set that a session's network was trained on, including its copies.

    Raises
    ------
    RunError
        If the set has changed.
    """
    train, folder = session.data.train, session.folder
    if folder.read("environment.json")["data_sha256"]["train"] != train.card.digest:
        raise RunError(
            f"a network must be trained on the set that its run names; {train.path} has changed since "
            f"{folder.path} was trained: move that folder away, or give another --name"
        )
    return digest(train)


def _load(folder: Path) -> Session:
    """Return the session of a finished run, at its end.

    Raises
    ------
    RunError
        If the folder holds no finished run.
    """
    if not (folder / "run.toml").is_file():
        raise RunError(f"a run folder must hold run.toml; {folder} doesn't")
    run = recipe.load(str(folder / "run.toml"))
    opened = RunFolder(folder, run)
    if not opened.finished:
        raise RunError(f"a network that scores must be of a finished run; {folder} is not: finish it first")
    data = open_data(run, World(), lambda name, done, total: None)
    session = build(run, opened, data, World(), choose_device(run.device, World()))
    if not resume(session) or session.fingerprint() != opened.read("ledger.json")["weights"]:
        session.close()
        raise RunError(
            f"a network that scores must be the one that its run ended with; {folder} has lost its last "
            "checkpoint: move that folder away, and train it again"
        )
    return session
