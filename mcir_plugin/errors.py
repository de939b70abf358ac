"""The base of all errors that a user can act on."""


class McirError(Exception):
    """What went wrong was input, files or numbers, not the program: the message says what to do next.

    The command line prints the message without a traceback and exits with status 2.
    """


class StateError(McirError, ValueError):
    """A saved history does not fit the options, or was written by a newer version."""
