"""Finds the schema that a configuration's data must match."""

from __future__ import annotations

from pathlib import Path

import schemas
from pipeline.config import Config
from pipeline.run_record import Data
from pipeline.schema.text import read_schema
from pipeline.workspace import Workspace


def schema_file(config: Config, data: Data, workspace: Workspace) -> Path:
    """The configured schema, or the bundled one; a manifest's columns are added to it.

    Raises:
        UserError: the configured one is missing, or is no schema.
    """
    if config.data.schema_file:
        read_schema(config.data.schema_file)
        return config.data.schema_file.resolve()
    if data.root is None:
        return schemas.BREAKHIS
    workspace.root.mkdir(parents=True, exist_ok=True)
    workspace.schema.write_text(schemas.of_images(data.columns), encoding="utf-8")
    return workspace.schema
