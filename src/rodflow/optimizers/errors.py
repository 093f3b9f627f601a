"""Why something is refused: one line that says what, why and what can be done."""

from rodflow.errors import RodflowError


class OptimizerError(RodflowError, ValueError):
    """A transformation that has no continuous-time limit; the message is one line and says why."""


class OtherModeError(OptimizerError):
    """An optimizer whose stability ends before its weights would alternate."""


class StateError(OptimizerError):
    """A state at which an optimizer has no threshold, though it may have one at others."""
