"""Every setting of the run."""

from __future__ import annotations

import yaml

from pipeline.report.inputs import Inputs
from pipeline.report.section import Section


def configuration(inputs: Inputs) -> Section:
    """The whole tree, as `knet run --config` reads it."""
    text = yaml.safe_dump(inputs.record.config, sort_keys=False, allow_unicode=True)
    return Section("configuration", "Configuration", {"text": text})
