"""What the papers say, and what the project set itself, as checks over stored artifacts.

A `Claim` is an entry of `CLAIMS`: a statement with its source, how one number is measured in a
stored run, and which values agree with the statement. Judged on an experiment it gives one
`Finding` a run, or a single one where it speaks of all runs together (a median, a share):

    for judgement in judge(stored_runs("results/digits"), CLAIMS):
        print(judgement.claim.id, judgement.verdict)

A claim is reproduced if something was measured and none of it disagrees. A run that says nothing about a
claim is "not reached" with the reason, and so is a claim that no run says anything about: none
is reproduced for want of evidence. A run that is not at the edge of stability by the rule of `rodflow.analysis.edge`
says nothing about what happens there. A flow that diverges where the discrete run does not does not reproduce it.

A claim with an `artifact` is about one of no run, such as adam_region.nc, and is measured on its dataset.

To add a claim, add an entry to the module of its subject; `rodflow.audit.causes` says why one is not reproduced, as far
as is known. No module here imports JAX.
"""

from rodflow.audit.claims import (
    adam_convergence,
    adam_in_continuous_time,
    adam_levels,
    along_rod,
    central_flow,
    cohen_2021,
    cohen_2022,
    edge_of_stability,
    few_weights,
    function_space,
    k_adam,
    minibatches,
    potentials,
    practice,
    regis_chewi,
    rod_flow,
    scale_invariance,
    second_moment,
)
from rodflow.audit.claims.claim import Claim

CLAIMS: tuple[Claim, ...] = (
    *rod_flow.CLAIMS,
    *regis_chewi.CLAIMS,
    *potentials.CLAIMS,
    *function_space.CLAIMS,
    *along_rod.CLAIMS,
    *practice.CLAIMS,
    *central_flow.CLAIMS,
    *second_moment.CLAIMS,
    *few_weights.CLAIMS,
    *edge_of_stability.CLAIMS,
    *minibatches.CLAIMS,
    *cohen_2021.CLAIMS,
    *cohen_2022.CLAIMS,
    *adam_in_continuous_time.CLAIMS,
    *adam_convergence.CLAIMS,
    *adam_levels.CLAIMS,
    *scale_invariance.CLAIMS,
    *k_adam.CLAIMS,
)
"""Every claim that an audit judges, in the order of its report."""
