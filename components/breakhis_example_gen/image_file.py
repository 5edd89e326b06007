"""One image as the catalog knows it, before it is opened."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class ImageFile:
    """One image: what its name, or its row of a manifest, says of it."""

    path: str  # in the source, with forward slashes
    label: str  # the name of its class
    patient: str  # the group that is never split; for BreaKHis the accession, such as 14-22549
    columns: tuple[tuple[str, str], ...] = ()  # further texts by name, such as ("magnification", "100X")

    def column(self, name: str) -> str:
        """The text of a column; raises KeyError where there is none of that name."""
        return dict(self.columns)[name]
