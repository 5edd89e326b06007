"""Keeps TFX from importing what the one executor of a container does not use."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Final

from pipeline.runners.kubeflow.import_on_use import import_on_use

# Executors that use no TensorFlow, or no more of it than its messages, before TFDV or Beam ask for it.
_LIGHT: Final = (
    "components.breakhis_example_gen.",
    "components.data_gate.",
    "components.knet_pusher.",
    "components.model_gate.",
    "tfx.components.example_validator.",
    "tfx.components.pusher.",
    "tfx.components.schema_gen.",
)


def prepare_imports(executor: str) -> None:
    """Makes `tfx` light to import; to be called before anything imports it.

    TFX's own modules import TensorFlow for its access to files, TFDV and TFMA for a class each among the
    standard parameters, and the client of Kubeflow beside its messages. For executors that do without, they
    are imported when something else of them is used. The others begin with all of them, as TFX has it.

    Args:
        executor: the import path of the class that will be run.
    """
    _skip_other_components()
    if not executor.startswith(_LIGHT):
        return
    # What is apart are messages of Protocol Buffers.
    import_on_use("kfp", apart=["pipeline_spec"])
    import_on_use("tensorflow", apart=["core"])
    import_on_use("tensorflow_data_validation", apart=["anomalies"])
    import_on_use("tensorflow_model_analysis", apart=["proto", "view"])
    _skip_marks_of_documentation()
    _skip_notebooks()
    _open_local_files_without_tensorflow()
    _give_messages_alone()
    importlib.import_module("tfx.components.statistics_gen")
    import_on_use("tfx.components.statistics_gen.stats_artifact_utils")  # which ImportSchemaGen does without


def _skip_other_components() -> None:
    """Keeps `tfx.components` from importing every component there is when one executor is asked for."""
    spec = importlib.util.find_spec("tfx.components")
    assert spec is not None and spec.submodule_search_locations is not None
    package = ModuleType("tfx.components")
    package.__spec__, package.__path__ = spec, list(spec.submodule_search_locations)
    sys.modules["tfx.components"] = package


def _give_messages_alone() -> None:
    """`tfx.types.standard_component_specs` takes one message from TFMA's `sdk`, which imports all of TFMA."""
    name = "tensorflow_model_analysis.sdk"
    specs = "tfx.types.standard_component_specs"
    if specs in sys.modules or name in sys.modules:
        return
    messages = importlib.import_module("tensorflow_model_analysis.proto.config_pb2")
    package, sdk = sys.modules["tensorflow_model_analysis"], ModuleType(name)
    vars(sdk).update(vars(messages))
    sys.modules[name] = vars(package)["sdk"] = sdk
    importlib.import_module(specs)
    del sys.modules[name], vars(package)["sdk"]


def _skip_notebooks() -> None:
    """TFMA's widgets, and IPython, without which Beam and TFDV do where it is not installed."""
    import_on_use("tensorflow_model_analysis.view")
    sys.modules.setdefault("IPython", None)  # type: ignore[arg-type]  # so Python knows what is not there


def _skip_marks_of_documentation() -> None:
    """`tfx.utils.doc_controls` does without TensorFlow's where it finds none."""
    name = "tensorflow.tools.docs"
    if "tfx.utils.doc_controls" not in sys.modules and name not in sys.modules:
        sys.modules[name] = None  # type: ignore[assignment]  # likewise
        importlib.import_module("tfx.utils.doc_controls")
        del sys.modules[name]


def _open_local_files_without_tensorflow() -> None:
    """Every path of an executor is local here; TFX would ask TensorFlow all the same."""
    from tfx.dsl.io import filesystem_registry

    from pipeline.runners.kubeflow.local_files import LocalFiles

    filesystem_registry.DEFAULT_FILESYSTEM_REGISTRY.register(LocalFiles, priority=0)
