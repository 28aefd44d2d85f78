"""Datasets with units, and the netCDF files that hold them.

Every variable carries `units` and `long_name`; attributes are plain scalars and JSON strings, since netCDF
knows neither None nor dict. Wall times are attributes, never variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aocsim.output import write_atomically

if TYPE_CHECKING:
    import xarray

SCHEMA = 1
"""Version of the result file, in its attribute `aocsim_schema`."""

COMPRESS_FROM = 1000  # elements; below, the header of a compressed chunk costs more than it saves

Variables = Mapping[str, tuple[tuple[str, ...], Any, str, str]]
"""Name -> (dimensions, values, unit, long name)."""


def assemble(variables: Variables, coordinates: Variables, attributes: Mapping[str, Any]) -> xarray.Dataset:
    """A Dataset in which nothing is without unit and long name."""
    import xarray

    def described(items: Variables) -> dict[str, Any]:
        return {
            name: (dims, values, {"units": unit, "long_name": text})
            for name, (dims, values, unit, text) in items.items()
        }

    data = xarray.Dataset(described(variables), coords=described(coordinates))
    data.attrs = {"aocsim_schema": SCHEMA, **attributes}
    return data


def write_result(data: xarray.Dataset, path: Path) -> None:
    """Write a result as compressed netCDF-4: complete, or not at all.

    Raises:
        ResourceError: the disk is full.
    """
    encoding = {
        str(name): {"zlib": True, "complevel": 4, "shuffle": True}
        for name, variable in data.data_vars.items()
        if variable.dtype.kind in "fi" and variable.size > COMPRESS_FROM
    }
    write_atomically(path, lambda temporary: data.to_netcdf(temporary, engine="netcdf4", encoding=encoding))
