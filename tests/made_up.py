"""A run whose files exist in memory only, for what reads stored runs."""

from dataclasses import dataclass, field

import xarray as xr

from rodflow.store.results import StoredRun


@dataclass(frozen=True)
class MadeUpRun(StoredRun):
    """A run whose files exist in memory only: `made_up` has them by name, as they are in its folder."""

    made_up: dict[str, xr.Dataset] = field(default_factory=dict)

    @property
    def comparison(self) -> xr.Dataset:
        return self.made_up["comparison"]

    @property
    def iterates(self) -> xr.Dataset:
        return self.made_up["iterates"]

    def has(self, name: str) -> bool:
        return name in self.made_up

    def series(self, process: str) -> xr.Dataset:
        return self.made_up[process]

    trajectory = series

    def eigenvalues(self, process: str) -> xr.Dataset:
        return self.made_up[f"sharpness/{process}"]
