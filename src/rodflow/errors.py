"""The errors of the library: each is one line with what is wrong and what to do about it."""


class RodflowError(Exception):
    """The base of every error that this library raises on purpose; its message is one line for people."""
