"""What goes wrong in a run, said in one line."""


class RunError(ValueError):
    """A mistake that the caller can mend: one line with the rule, the value and the remedy."""


class DivergedError(RunError):
    """The loss is no longer a finite number; the line names the step and what is left of the run."""


class InterruptedRunError(RunError):
    """The run was asked to stop (Ctrl-C, SIGTERM) and has written a checkpoint to go on from."""


class PeerError(RunError):
    """Another rank has ended, and so this one must."""
