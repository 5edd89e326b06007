"""How Beam runs inside the components."""

from __future__ import annotations

from pydantic import Field

from pipeline.config.section import Section


class BeamConfig(Section):
    """How Beam runs inside the components."""

    workers: int = Field(2, ge=1)  # processes on this machine; each takes some seconds to start
    args: tuple[str, ...] = ()  # further Beam flags; with a --runner among them, they replace the local ones

    @property
    def elsewhere(self) -> bool:
        """Whether other machines do the work."""
        runners = [arg for arg in self.args if arg.startswith("--runner")]
        return any(not runner.endswith(("DirectRunner", "FnApiRunner")) for runner in runners)
