"""Judges the winner on test patients and writes the blessing that Pusher reads."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components.model_gate.rules import violations


class Executor(base_executor.BaseExecutor):
    """Reads the ModelSelector's decision."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Blesses the model or says in one line why not; `gate.json` keeps the reasons."""
        decision = artifact_utils.get_single_instance(input_dict["decision"]).read()
        winner = decision["winner"]
        reasons = violations(
            decision["candidates"][winner]["test"], minimum=json.loads(exec_properties["minimum"])
        )
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        blessing.set_int_custom_property("blessed", int(not reasons))
        folder = Path(blessing.uri)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ("NOT_BLESSED" if reasons else "BLESSED")).touch()
        record = {"model": winner, "blessed": not reasons, "reasons": reasons}
        (folder / "gate.json").write_text(json.dumps(record, indent=2), encoding="utf-8")
        if reasons:
            logging.getLogger(__name__).warning("%s is refused: %s", winner, "; ".join(reasons))
