"""zoneinfo for programs: the time zones of this machine, read while there are files."""

import importlib
import io
import zoneinfo
from collections.abc import Callable
from typing import Any

__all__ = ["load_zones", "zone_names"]

_files: dict[str, bytes] = {}


def load_zones() -> None:
    """Reads every zone, and has the library find them here and nowhere else."""
    library: Any = importlib.import_module("zoneinfo._common")
    find: Callable[[str], str | None] = importlib.import_module("zoneinfo._tzpath").find_tzfile
    # Many zones have several names.
    known: dict[bytes, bytes] = {}
    for key in zoneinfo.available_timezones():
        path = find(key)
        with open(path, "rb") if path else library.load_tzdata(key) as file:
            data = file.read()
        _files[key] = known.setdefault(data, data)
    zoneinfo.reset_tzpath(to=())
    library.load_tzdata = _found


def _found(key: str) -> io.BytesIO:
    if key not in _files:
        raise zoneinfo.ZoneInfoNotFoundError(f"No time zone found with key {key}")
    return io.BytesIO(_files[key])


def zone_names() -> set[str]:
    """zoneinfo.available_timezones()."""
    return set(_files)
