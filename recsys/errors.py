"""What ends a job with an exit code of its own, and a line that a user can act on."""


class ConfigError(ValueError):
    """A key that does not exist, a value of the wrong type, or one that is impossible."""

    exit_code = 2


class DataError(ValueError):
    """Input or a former stage's output that is not what the job can work with.

    The message is one line: which file or table, which column, what was expected, what was found.
    """

    exit_code = 3


class FloorError(Exception):
    """The report is written, and a figure in it is below its floor (evaluate.floors).

    The message has one line for each.
    """

    exit_code = 4
