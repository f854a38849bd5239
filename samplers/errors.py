"""Exceptions and warnings of samplers."""


class SamplingError(ValueError):
    """An error that the caller can fix; the message is one line with the rule, the value and the remedy."""


class SamplingWarning(UserWarning):
    """Options that look wrong under their plan but may be intended; one warning per line of ``notes``."""


class LateAnswerError(SamplingError):
    """A worker process timed out; its answer may still arrive, so waiting again is possible."""
