"""Learning rates that change in time: what a config says of each, by name.

    learning_rate: {schedule: warmup_cosine, peak: 0.005, warmup: 50}

They are optax's, see `rodflow.optimizers.schedules`.
"""

from collections.abc import Mapping

from rodflow.config.declarations import Setting, number, whole

PEAK = number("The largest learning rate.", gt=0)
END = number("The learning rate at the end.", 0.0, ge=0)
WARMUP = whole("Steps in which it rises to the peak.", ge=1)
BEFORE = number("The learning rate at step 0.", 0.0, ge=0)
STEPS = whole("Step at which it has its last value; null: the length of the run.", None, ge=1)

SCHEDULES: Mapping[str, tuple[str, Mapping[str, Setting]]] = {
    "warmup_cosine": (
        "From a start linearly to the peak, then by a cosine to the end.",
        {"peak": PEAK, "warmup": WARMUP, "start": BEFORE, "end": END, "steps": STEPS},
    ),
    "cosine": ("From the peak by a cosine to the end.", {"peak": PEAK, "end": END, "steps": STEPS}),
    "linear": ("From the peak linearly to the end.", {"peak": PEAK, "end": END, "steps": STEPS}),
    "exponential": (
        "From the peak by the same factor in every step.",
        {
            "peak": PEAK,
            "factor": number("What is left of it after `steps`.", gt=0, lt=1),
            "steps": STEPS,
        },
    ),
    "drop": (
        "The peak up to a step, and a part of it from there on.",
        {
            "peak": PEAK,
            "factor": number("What is left of it.", gt=0, lt=1),
            "at": whole("Step from which on it is less.", ge=1),
        },
    ),
    "warmup_constant": (
        "From a start linearly to the peak, which it keeps.",
        {"peak": PEAK, "warmup": WARMUP, "start": BEFORE},
    ),
}
"""Name -> a sentence for the schema, and the settings."""
