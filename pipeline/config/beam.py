"""Settings of Apache Beam, which ExampleGen, StatisticsGen, Transform and the Evaluator run on."""

from __future__ import annotations

from pydantic import Field

from pipeline.config.section import Section


class BeamConfig(Section):
    """Apache Beam, which the data components and the Evaluator run on."""

    workers: int = Field(
        2,
        ge=1,
        description="Worker processes of the local runner; each takes some seconds to start.",
        json_schema_extra={"unit": "processes"},
    )
    args: tuple[str, ...] = Field(
        (),
        description="Further Beam pipeline options, such as --runner=FlinkRunner; a --runner among them "
        "replaces the options of the local runner.",
    )

    @property
    def remote(self) -> bool:
        """Whether workers run on other machines."""
        runners = [arg for arg in self.args if arg.startswith("--runner")]
        return any(not runner.endswith(("DirectRunner", "FnApiRunner")) for runner in runners)
