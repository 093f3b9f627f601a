"""The errors of the library: each is one line with what is wrong and what to do about it.

A line may quote a file that somebody else made. `printable` is what keeps such a text from being more than text: it
shows control characters, which could move a terminal's cursor or begin a line of their own, as escapes.
"""


class RodflowError(Exception):
    """The base of every error that this library raises on purpose; its message is one line for people."""

    def __str__(self) -> str:
        return printable(super().__str__())


def printable(text: str) -> str:
    r"""A text in one line that any terminal shows as it is: what is not printable becomes an escape such as `\x1b`.

    Line feeds, control characters, marks that change the direction of writing and halves of surrogate pairs are not.
    """
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )
