"""The errors that a user can mend, with the exit code that each one gives a job."""


class ConfigError(ValueError):
    """A key that does not exist, a value of the wrong type, or one that is impossible."""

    exit_code = 2


class DataError(ValueError):
    """Input or a former stage's output that is not what the job can work with.

    The message is one line: which file or table, which column, what was expected, what was found.
    """

    exit_code = 3
