"""Every error that a user can cause, and the exit code it ends the command with.

    DcganDataError            1   caught once, in cli.main: one line on stderr, no traceback
    |-- BadRequest            1   an option, recipe, or output directory that cannot be used as asked
    |-- BadInput              1   a source, prepared set or run directory that cannot be read
    |   `-- DamagedSet        1   files of a prepared set are not as its index says; which, and in what way
    |-- TrainingStopped       1   training cannot go on (non-finite loss)
    `-- TooManyRejected       3   more records were rejected than --max-rejected allows; outputs are kept

Usage errors (unknown option) end with 2, an interrupt with 130. A message says what is wrong,
where, and what to do about it. Bad *data* is not an exception: it is a manifest row with a reason.
Anything else that is raised is a bug and keeps its traceback.
"""

_MOST_SIGNS, _HEAD = 2000, 1400
"""Of a message; a file can hold names of any length. What to do stands at the end."""


def one_line(text: str) -> str:
    """As it may be shown on a terminal: names from data can hold line ends, and sequences that command it."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else _escaped(sign) for sign in text)


def _escaped(sign: str) -> str:
    return " " if sign.isspace() else sign.encode("unicode_escape").decode()


class DcganDataError(Exception):
    """Base of all errors that a user can cause; ``exit_code`` is the command's exit status."""

    exit_code = 1

    def __str__(self) -> str:
        text = one_line(super().__str__())
        return text if len(text) <= _MOST_SIGNS else f"{text[:_HEAD]} ... {text[_HEAD - _MOST_SIGNS :]}"


class BadRequest(DcganDataError):
    """What was asked for cannot be done: an option, a recipe, an output directory in use."""


class BadInput(DcganDataError):
    """A source, a prepared set or a run directory that cannot be read as what it should be."""


class DamagedSet(BadInput):
    """Files of a prepared set are not as its index says; ``files``: what is wrong with each, by name."""

    def __init__(self, message: str, files: dict[str, str]) -> None:
        super().__init__(message)
        self.files = files


class TrainingStopped(DcganDataError):
    """Training cannot continue, for example because a loss is not finite."""


class TooManyRejected(DcganDataError):
    """More records were rejected than allowed; everything written is kept for inspection."""

    exit_code = 3
