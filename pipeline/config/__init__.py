"""The typed configuration: description, unit, range and default of every field.

Defaults are the paper's values (Dsouza & Ansari, 2022). `load_config` reads a preset or a YAML file.
"""

from pipeline.config.beam import BeamConfig
from pipeline.config.candidates import CandidateConfig, HeadConfig, ImageConfig
from pipeline.config.config import Config
from pipeline.config.evaluation import CalibrationConfig, OodConfig
from pipeline.config.kubeflow import KubeflowConfig, ResourcesConfig
from pipeline.config.load_config import PRESETS, load_config
from pipeline.config.metadata import MetadataConfig
from pipeline.config.names import PAPER_BACKBONES, BackboneName, FixedCopy
from pipeline.config.training import DevicesConfig, RandomAugmentationConfig, TrainingConfig
from pipeline.config.tuning import TuningConfig

__all__ = [
    "PAPER_BACKBONES",
    "PRESETS",
    "BackboneName",
    "BeamConfig",
    "CalibrationConfig",
    "CandidateConfig",
    "Config",
    "DevicesConfig",
    "FixedCopy",
    "HeadConfig",
    "ImageConfig",
    "KubeflowConfig",
    "MetadataConfig",
    "OodConfig",
    "RandomAugmentationConfig",
    "ResourcesConfig",
    "TrainingConfig",
    "TuningConfig",
    "load_config",
]
