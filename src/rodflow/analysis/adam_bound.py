r"""How large an update of Adam can be, whatever the gradients: Gould and Tanaka 2024 (arXiv 2411.05746), section 2.

With decays b and c of the moments, m_t = (1-b) sum_k b^k g_{t-k}, v_t = (1-c) sum_k c^k g_{t-k}^2 and k = 0 ... t-1.
Write b^k g = (b^k c^{-k/2}) (c^{k/2} g). By Cauchy-Schwarz, with q = b^2/c,

    m_t^2 <= (1-b)^2 (sum_k q^k) (sum_k c^k g_{t-k}^2),    hence
    |m_t| / sqrt(v_t) <= (1-b)/sqrt(1-c) sqrt((1 - q^t)/(1 - q)).

It is bounded for all time exactly where b^2 < c, and grows like q^{t/2} where b^2 > c. Both sides are equal exactly
where c^{k/2} g_{t-k} is proportional to b^k c^{-k/2}, that is g_{t-k} ~ (b/c)^k. Up to a factor that does not depend
on k this is g_s = (c/b)^s, the same sequence for every t: it attains the bound at all steps.

In continuous time tau_1 = b/(1-b), tau_2 = c/(1-c), tau_1 dm/dt = g - m and tau_2 dv/dt = g^2 - v, and the same
argument with integrals gives

    |m| / sqrt(v) <= sqrt(tau_2)/tau_1 sqrt((1 - e^{-Ct})/C),    C = 2/tau_1 - 1/tau_2,

with equality for g(s) = e^{(1/tau_1 - 1/tau_2) s}. C = 0 is the curve c = b/(2-b), above c = b^2. Since
-log q = 2 log(1 + 1/tau_1) - log(1 + 1/tau_2), C is the first order of -log q where both decays are slow.

Bias correction, m/(1-b^t) and v/(1-c^t), multiplies update and bound by sqrt(1-c^t)/(1-b^t). The corrected moments
are averages of g and g^2 with other weights, so this bound is never below 1, which it is at t = 1 and where b = c.
An eps > 0 makes updates smaller.
"""

import numpy as np

Numbers = float | np.ndarray


def condition(b: Numbers, c: Numbers) -> Numbers:
    """C(b, c) = 2(1-b)/b - (1-c)/c: updates in continuous time are bounded exactly where it is positive.

    Args:
        b, c: decays of the first and second moment.
    """
    return 2 * (1 - b) / b - (1 - c) / c


def quotient(b: Numbers, c: Numbers) -> Numbers:
    """The quotient q = b^2/c: updates are bounded exactly where it is below 1.

    Args:
        b, c: decays of the first and second moment.
    """
    return b**2 / c


def bound(b: Numbers, c: Numbers, steps: Numbers, *, corrected: bool = False) -> Numbers:
    """The largest |m|/sqrt(v) after these steps over all gradients.

    Args:
        b, c: decays of the first and second moment.
        steps: t, from 1 on; infinity for the bound for all time, which is infinite where there is none.
        corrected: with bias correction, as `optax.adam` updates.
    """
    sums = _sum(-np.log(quotient(b, c)), steps, discrete=True)
    found = (1 - b) / np.sqrt(1 - c) * np.sqrt(sums)
    return found * correction(b, c, steps) if corrected else found


def bound_in_continuous_time(
    b: Numbers, c: Numbers, time: Numbers, *, corrected: bool = False
) -> Numbers:
    """The same of the differential equations.

    Args:
        b, c: decays of the first and second moment, which give tau_1 and tau_2.
        time: since the moments were 0, in units of steps; infinity for the bound for all time.
        corrected: with bias correction, whose decays are e^{-t/tau_1} and e^{-t/tau_2}.
    """
    sums = _sum(condition(b, c), time, discrete=False)
    found = (1 - b) / b * np.sqrt(c / (1 - c)) * np.sqrt(sums)
    if corrected:
        bias_1, bias_2 = (-np.expm1(-time * (1 - decay) / decay) for decay in (b, c))
        found = found * np.sqrt(bias_2) / bias_1
    return found


def _sum(rate: Numbers, time: Numbers, *, discrete: bool) -> np.ndarray:
    """(1 - e^{-rate time})/(1 - e^{-rate}), or over rate in continuous time; its limit at rate 0 is time."""
    rate, time = np.broadcast_arrays(np.asarray(rate, float), np.asarray(time, float))
    level = np.abs(rate) < 1e-13
    safe = np.where(level, 1.0, rate)
    with np.errstate(over="ignore", invalid="ignore"):
        found = -np.expm1(-safe * time) / (-np.expm1(-safe) if discrete else safe)
    return np.where(level, time, found)


def correction(b: Numbers, c: Numbers, steps: Numbers) -> Numbers:
    """What bias correction multiplies m/sqrt(v) by: sqrt(1 - c^t)/(1 - b^t).

    Args:
        b, c: decays of the first and second moment.
        steps: t, from 1 on.
    """
    return np.sqrt(1 - c ** np.asarray(steps, float)) / (1 - b ** np.asarray(steps, float))


def worst_gradients(b: float, c: float, steps: int) -> np.ndarray:
    """g_s = (c/b)^s for s = 1 ... steps, scaled to end at 1: with these the bound is attained at every step.

    Args:
        b, c: decays of the first and second moment, of which b is not 0.
        steps: how many gradients, [step].
    """
    return (c / b) ** np.arange(1.0 - steps, 1)
