from rodflow.dynamics.integration import integrate as integrate
from rodflow.dynamics.process import Process as Process
from rodflow.dynamics.process import Recording as Recording
from rodflow.dynamics.process import grid as grid
from rodflow.dynamics.training import discrete as discrete
from rodflow.errors import RodflowError as RodflowError
from rodflow.optimizers.alternation import alternating_gain as alternating_gain
from rodflow.optimizers.optimizer_map import OptimizerMap as OptimizerMap
from rodflow.optimizers.optimizer_map import State as State
from rodflow.optimizers.optimizer_map import optimizer_map as optimizer_map
from rodflow.stages.sharpness import Search as Search
from rodflow.stages.study import Study as Study
from rodflow.stages.study import study as study
from rodflow.store.tree import open_results as open_results

__version__: str
