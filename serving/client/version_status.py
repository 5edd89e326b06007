"""How a version of a model stands on a server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VersionStatus:
    """`state` is START, LOADING, AVAILABLE, UNLOADING or END; `error` why the version is not there, if so."""

    version: int
    state: str
    error: str
