"""Recording of some steps within a real run: what host, device and loader did when, as profile.json."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pipeline.clock import CLOCK
from pipeline.recording import SCHEMA, Mark, Recorder
from trainer.budget.planning import steps_of
from trainer.config import Run
from trainer.environment import environment
from trainer.errors import RunError
from trainer.recipe import to_table
from trainer.session import Session
from trainer.settings import comparison
from trainer.slots import SLOTS

FILE = "profile.json"
"""Name of the recording in a run folder."""

MOST_STEPS = 2000


@dataclass(slots=True)
class Recording:
    """Steps of a run, to be recorded.

    Parameters
    ----------
    first, last
        Numbers of the first and the last step, from 1.
    """

    first: int
    last: int
    _recorder: Recorder | None = field(init=False, default=None)
    _marks: list[Mark] = field(init=False, default_factory=list)
    _phases: dict[str, float] = field(init=False, default_factory=dict)
    _began: float = field(init=False, default=0.0)

    @classmethod
    def parse(cls, text: str) -> Recording:
        """Read ``FIRST:LAST``.

        Raises
        ------
        RunError
            When it isn't that, or too many steps.
        """
        found = re.fullmatch(r"(\d{1,12}):(\d{1,12})", text)
        first, last = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= first <= last:
            raise RunError(
                f"profile_steps must be FIRST:LAST, steps of the run counted from 1; got {text}: write "
                "200:260, say"
            )
        if last - first >= MOST_STEPS:
            raise RunError(
                f"profile_steps must be at most {MOST_STEPS:,} steps, for a page that can be read; got "
                f"{last - first + 1:,}: take {first}:{first + 59}, say"
            )
        return cls(first, last)

    def check(self, run: Run, samples: int) -> None:
        """Check, before anything is built or written, that a run on a set of ``samples`` is long enough.

        Raises
        ------
        RunError
            When it ends before the last of the steps.
        """
        steps = steps_of(run, samples)
        if steps is not None and self.last > steps:
            raise RunError(
                f"profile_steps must lie within this run's {steps:,} steps; got {self.first}:{self.last}: "
                "record earlier steps, or raise --epochs"
            )

    def stepped(self, session: Session) -> None:
        """Begin, go on or end after a step, or before the first."""
        done = session.ledger.steps
        if self._recorder is None:
            if done == self.first - 1:
                self._begin(session)
            return
        self._marks.append(Mark(session.device))
        self._recorder.step = done + 1
        if done == self.last:
            self._end(session, self._recorder)

    def _begin(self, session: Session) -> None:
        session.ledger.settle()
        self._recorder = session.ledger.spans = Recorder()
        self._recorder.step = self.first
        session.loader.record(self._recorder)
        self._phases, self._began = dict(session.ledger.seconds), CLOCK.now()
        self._marks = [Mark(session.device)]

    def _end(self, session: Session, recorder: Recorder) -> None:
        session.ledger.settle()
        session.ledger.spans = self._recorder = None
        session.loader.record(None)
        if not session.world.leads:
            return
        run, ledger = session.run, session.ledger
        phases = {name: seconds - self._phases[name] for name, seconds in ledger.seconds.items()}
        # The training clock: evaluations and checkpoints between the steps are left out.
        seconds = ledger.on_the_clock(CLOCK.now() - self._began)
        seconds += sum(ledger.seconds[name] - phases[name] for name in ("evaluate", "checkpoint"))
        loading: dict[str, float] = {}
        for span in recorder.spans:
            if span.lane == "loader":
                loading[span.name] = loading.get(span.name, 0.0) + span.end - span.begin
        session.folder.write_json(
            FILE,
            {
                "schema": SCHEMA,
                "kind": "steps",
                "setting": (
                    f"steps {self.first:,} to {self.last:,} of a run: {SLOTS['model'].named(run)} on "
                    f"{session.data.train.card.name}, batches of {run.batch_size} at {session.pixels} "
                    f"pixels, engine {SLOTS['engine'].named(run)}, {session.device} {session.precision}"
                ),
                "settings": comparison.flat(to_table(run)),
                "environment": environment(session.device),
                "batch_size": run.batch_size,
                "batches": self.last - self.first + 1,
                "seconds": seconds,
                "wait": phases["wait"],
                "phases": {
                    name: spent for name, spent in phases.items() if name not in ("evaluate", "checkpoint")
                },
                "loading_seconds": loading,
                "steps": [one.until(other) for one, other in zip(self._marks, self._marks[1:], strict=False)],
                "timeline": recorder.rows(self._began),
                "dropped": recorder.dropped,
            },
        )
