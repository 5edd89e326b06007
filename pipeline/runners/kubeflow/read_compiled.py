"""Reads what `knet kubeflow compile` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import UserError


def read_compiled(file: Path) -> dict[str, Any]:
    """The PipelineSpec of a compiled graph, as JSON knows it.

    Raises:
        UserError: the file cannot be read, or holds something else.
    """
    try:
        document = next(yaml.safe_load_all(file.read_text(encoding="utf-8")), None)
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError):
        document = None
    if not isinstance(document, dict) or not {"pipelineInfo", "root", "deploymentSpec"} <= set(document):
        raise UserError(f"{file} is no compiled pipeline; knet kubeflow compile --output {file} makes one")
    return document
