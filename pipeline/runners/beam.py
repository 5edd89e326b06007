"""Options of every Beam pipeline, and Beam's default runner."""

from __future__ import annotations

from apache_beam.options.pipeline_options import StandardOptions

from pipeline.config.config import BeamConfig

# Beam's own default, DirectRunner, first tries to download another runner (Prism).
FN_API_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
_LOCAL_RUNNER = "components.local_runner.LocalRunner"
_PORTABLE_RUNNER = "components.portable_runner.PortableRunner"


def beam_args(config: BeamConfig) -> list[str]:
    """Return the options of Beam pipelines in components: the local runner, unless `args` names another."""
    # Batches of 20 MiB; otherwise they grow to 1,000 images of any size.
    batching = "--tfxio_use_byte_size_batching"
    if config.names_runner:
        ours = {"--runner=PortableRunner": f"--runner={_PORTABLE_RUNNER}"}
        return [batching, *(ours.get(arg, arg) for arg in config.args)]
    if config.workers == "auto":
        runner = [f"--runner={_LOCAL_RUNNER}"]
    else:
        runner = [
            f"--runner={FN_API_RUNNER}",
            f"--direct_num_workers={config.workers}",
            f"--direct_running_mode={'in_memory' if config.workers == 1 else 'multi_processing'}",
        ]
    return [
        batching,
        *runner,
        # Unused, but without it TFX packs itself into an sdist for each Beam node.
        "--sdk_container_image=none",
        *config.args,
    ]


def use_fn_api_runner_by_default() -> None:
    """Set the runner of pipelines without options, such as that by which BeamDagRunner orders nodes."""
    StandardOptions.DEFAULT_RUNNER = FN_API_RUNNER
