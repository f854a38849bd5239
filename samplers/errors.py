"""What goes wrong in a sampler, said in one line."""


class SamplingError(ValueError):
    """A mistake that the caller can mend: one line with the rule, the value and the remedy."""
