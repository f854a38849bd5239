"""What goes wrong in a sampler, said in one line."""


class SamplingError(ValueError):
    """A mistake that the caller can mend: one line with the rule, the value and the remedy."""


class SamplingWarning(UserWarning):
    """Options that look odd under their plan but can be meant; the lines are a sampler's ``notes``."""


class LateAnswerError(SamplingError):
    """An answer is late rather than lost: waiting for it once more may get it."""
