"""Networks that score: of finished runs, and the sets that they were trained on."""

from __future__ import annotations

from pathlib import Path

from trainer import recipe
from trainer.build import build
from trainer.data import digest, open_data
from trainer.errors import RunError
from trainer.hardware.device import choose_device
from trainer.parallel import World
from trainer.run_folder import RunFolder
from trainer.session import Session
from trainer.state import resume


def trained_on(session: Session) -> str | None:
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


def loaded(folder: Path) -> Session:
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
