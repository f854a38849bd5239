"""What goes wrong in the data pipeline, said in one line."""


class DataError(ValueError):
    """A mistake that the caller can mend: one line with the rule, the value and the remedy."""


class MissingExtraError(DataError):
    """An optional dependency is asked for and not installed; the line holds the command that installs it."""


class CorruptSampleError(DataError):
    """A sample's bytes can't be read; the line names the file and the sample."""


class ChangedDataError(DataError):
    """A file was altered while it was being read; the line names it and what changed."""
