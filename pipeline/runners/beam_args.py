"""The flags of every Beam pipeline, and Beam's default runner."""

from __future__ import annotations

from apache_beam.options.pipeline_options import StandardOptions

from pipeline.config import BeamConfig

# Beam's own default, DirectRunner, first tries to download another runner (Prism).
FN_API_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def beam_args(config: BeamConfig) -> list[str]:
    """Flags for the Beam pipelines inside components."""
    args = [
        f"--runner={FN_API_RUNNER}",
        f"--direct_num_workers={config.workers}",
        f"--direct_running_mode={'in_memory' if config.workers == 1 else 'multi_processing'}",
        # Else batches grow up to 1,000 images whatever their size; so they hold 20 MiB.
        "--tfxio_use_byte_size_batching",
    ]
    return [*args, *config.args]


def use_fn_api_runner_by_default() -> None:
    """For pipelines that take no flags: the one by which TFX's BeamDagRunner orders the nodes."""
    StandardOptions.DEFAULT_RUNNER = FN_API_RUNNER
