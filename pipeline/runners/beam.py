"""The flags of every Beam pipeline, and Beam's default runner."""

from __future__ import annotations

from apache_beam.options.pipeline_options import StandardOptions

from pipeline.config.config import BeamConfig

# Beam's own default, DirectRunner, first tries to download another runner (Prism).
FN_API_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def beam_args(config: BeamConfig) -> list[str]:
    """Flags for the Beam pipelines inside components: on this machine, or as `config.args` has it."""
    # Else batches grow up to 1,000 images whatever their size; so they hold 20 MiB.
    batching = "--tfxio_use_byte_size_batching"
    if any(arg.startswith("--runner") for arg in config.args):
        return [batching, *config.args]
    return [
        batching,
        f"--runner={FN_API_RUNNER}",
        f"--direct_num_workers={config.workers}",
        f"--direct_running_mode={'in_memory' if config.workers == 1 else 'multi_processing'}",
        # Not used here; but where no image is named, TFX packs itself into an sdist for each Beam node.
        "--sdk_container_image=none",
        *config.args,
    ]


def use_fn_api_runner_by_default() -> None:
    """For pipelines that take no flags: the one by which TFX's BeamDagRunner orders the nodes."""
    StandardOptions.DEFAULT_RUNNER = FN_API_RUNNER
