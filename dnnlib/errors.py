"""Exceptions that mean something to every part of the program. The lowest file of the library: it imports nothing."""


class UserError(Exception):
    """A mistake that the user can mend: a sentence saying what was found where, what was expected and what to do.

    Command lines print the sentence without a traceback and exit with status 2 (see `dnnlib.util.run_main`).
    """


class FileError(UserError):
    """A file that cannot be used. `reason` is one word for programs: 'absent', 'unreadable' or 'damaged'."""

    def __init__(self, reason, sentence):
        super().__init__(sentence)
        self.reason = reason


class StopRequested(Exception):
    """Long work was broken off between two pieces of it, since the run was asked to stop. Not an error."""
