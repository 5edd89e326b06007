"""Base class of the configuration's sections.

Each field states its description, range and default in its `Field`, and its unit in
`json_schema_extra={"unit": ...}`. `knet config explain`, `knet config schema` and docs/settings.md show them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    """A section of the configuration: unknown fields are refused, instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)
