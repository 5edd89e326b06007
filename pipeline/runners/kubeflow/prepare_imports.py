"""Has a container import what its one executor uses, and not what TFX and its libraries import by habit."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from types import ModuleType
from typing import Final

from pipeline.runners.kubeflow.import_on_use import import_on_use
from pipeline.runners.kubeflow.import_without import import_without

# Run when they are used, by what of them may be imported before: messages of Protocol Buffers, for the most.
_ON_USE: Final[dict[str, tuple[str, ...]]] = {
    "boto3": (),  # Beam and TensorBoard, for S3
    "hdfs": (),
    "kfp": ("pipeline_spec",),
    "pandas": (),
    "scipy.stats": (),
    "tensorflow": ("core",),
    "tensorflow.lite.python.schema_py_generated": (),
    "tensorflow_data_validation": ("anomalies",),
    "tensorflow_model_analysis": ("proto", "sdk", "view"),
    "tensorflow_model_analysis.api.dataframe": (),  # with pandas
    "tensorflow_model_analysis.metrics.bleu": (),  # metrics of texts, with NLTK and sacreBLEU
    "tensorflow_model_analysis.metrics.rouge": (),
    "tensorflow_model_analysis.view": ("util", "view_types"),  # widgets of notebooks
    "tfx.components.statistics_gen.stats_artifact_utils": (),  # TFDV, for ImportSchemaGen
    # Keras's plots, and its models for scikit-learn.
    "keras.src.visualization": (),
    "keras.src.wrappers": (),
    "keras.visualization": (),
    "keras.wrappers": (),
    "tf_keras.api._v1.keras": (),
    "tf_keras.api._v2.keras": (),
}
# Likewise; `beam.io` would take all their names, and goes without: import them from these modules.
_NOT_IN_BEAM_IO: Final = (
    "apache_beam.io.gcp.bigquery",
    "apache_beam.io.mongodbio",
)
# Modules, and what they do without: they find it not to be installed.
_WITHOUT: Final = {
    "apache_beam.io.gcp.pubsub": ("google.cloud.pubsub",),
    "apache_beam.io.textio": ("pandas",),
    "apache_beam.typehints": ("pandas",),
    "keras.src.trainers.data_adapters.array_slicing": ("pandas",),
    "tensorflow": ("keras.src.optimizers",),  # it imports Keras for its SavedModels, which Keras 3 has not
    "tensorflow.python.distribute.cluster_resolver.gce_cluster_resolver": ("googleapiclient",),
    "tensorflow.python.keras.engine.training_arrays_v1": ("scipy.sparse",),
    "tensorflow.python.keras.engine.training_v1": ("scipy.sparse",),
    "tensorflow.python.tpu.client.client": ("googleapiclient",),
    "tf_keras.src.engine.training_arrays_v1": ("scipy.sparse",),
    "tf_keras.src.engine.training_v1": ("scipy.sparse",),
    "tfx.utils.doc_controls": ("tensorflow.tools.docs",),
}


def prepare_imports() -> None:
    """Makes `tfx` and its libraries light to import; to be called before anything imports them.

    TFX's own modules import TensorFlow for its access to files, TFDV and TFMA for a class each among the
    standard parameters, and the client of Kubeflow beside its messages. These import Keras, Google's clients
    and IPython, used or not. What an executor uses is whole all the same: see `import_on_use` and
    `import_without`.
    """
    _be_no_notebook()
    for importer, names in _WITHOUT.items():
        import_without(importer, *names)
    for name, apart in _ON_USE.items():
        import_on_use(name, apart=apart)
    for name in _NOT_IN_BEAM_IO:
        import_on_use(name, known={"__all__": ()})
    _tell_version_of_keras()
    _skip_other_components()
    _give_messages_of_tfma()
    _open_local_files_without_tensorflow()


def _be_no_notebook() -> None:
    """Beam asks IPython with every pipeline whether this is one; where it is not installed, it is none."""
    sys.modules.setdefault("IPython", None)  # type: ignore[arg-type]  # so Python knows what is not there


def _tell_version_of_keras() -> None:
    """TFMA and TFT ask `tf.keras` for its version, and then use the other Keras, the second."""
    version = importlib.metadata.version("keras")
    import_on_use("keras", apart=["_tf_keras"], known={"__version__": version})
    import_on_use("keras._tf_keras.keras", known={"version": lambda: version})


def _skip_other_components() -> None:
    """Keeps `tfx.components` from importing every component there is when one executor is asked for."""
    spec = importlib.util.find_spec("tfx.components")
    assert spec is not None and spec.submodule_search_locations is not None
    package = ModuleType("tfx.components")
    package.__spec__, package.__path__ = spec, list(spec.submodule_search_locations)
    sys.modules["tfx.components"] = package


def _give_messages_of_tfma() -> None:
    """`tfx.types.standard_component_specs` takes messages from TFMA's `sdk`, which imports all of TFMA."""
    importlib.import_module("google.protobuf.wrappers_pb2")  # TFMA 0.52 counts on others to have done so
    messages = vars(importlib.import_module("tensorflow_model_analysis.proto.config_pb2"))
    known = {name: message for name, message in messages.items() if not name.startswith("_")}
    import_on_use("tensorflow_model_analysis.sdk", known=known)


def _open_local_files_without_tensorflow() -> None:
    """Every path of an executor is local here; TFX would ask TensorFlow all the same."""
    from tfx.dsl.io import filesystem_registry

    from pipeline.runners.kubeflow.local_files import LocalFiles

    filesystem_registry.DEFAULT_FILESYSTEM_REGISTRY.register(LocalFiles, priority=0)
