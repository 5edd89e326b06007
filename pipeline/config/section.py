"""What every part of the configuration is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    """A part of the tree: unknown fields are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
