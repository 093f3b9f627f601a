"""The largest stable learning_rate * S in closed form, S the sharpness preconditioned by the optimizer's own P.

Sources: Cohen et al. 2021 (arXiv 2103.00065) and 2022 (2207.14484), Regis and Chewi 2026 (2605.06821).
"""

import numpy as np


def averaging_threshold(b: float) -> float:
    """Of an averaged gradient, m' = b m + (1 - b) g: 2 (1 + b) / (1 - b), which is 38 at b = 0.9."""
    return 2 * (1 + b) / (1 - b)


def nesterov_threshold(b: float) -> float:
    """Of an averaged gradient that looks ahead by one step: 2 (1 + b) / ((1 - b) (1 + 2 b))."""
    return 2 * (1 + b) / ((1 - b) * (1 + 2 * b))


def k_adam_threshold(b: float, k: int) -> float:
    """The least gain K at which (z - 1) (z - b)^k + K (1 - b)^k z^k has a root on the unit circle.

    That of the alternating motion z = -1 is 2 ((1 + b) / (1 - b))^k. From k = 2 on a slower oscillation becomes
    unstable before where b is large, for k = 2 at K = (1 - b^2) / b^2.

    Args:
        b: decay of the first moment of each rescaling.
        k: how many rescalings.
    """
    free, fed = np.poly([1.0] + [b] * k), (1 - b) ** k * np.eye(k + 2)[1]

    def stable(gain: float) -> bool:
        return bool(np.abs(np.roots(free + gain * fed)).max() < 1)

    low, high = 0.0, 2 * ((1 + b) / (1 - b)) ** k
    for place in (
        np.geomspace(1e-6, 1, 200) * high
    ):  # the first crossing; a later one may be stable again
        if not stable(place):
            high = float(place)
            break
        low = float(place)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if stable(middle) else (low, middle)
    return high
