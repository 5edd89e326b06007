"""The images, and what they must stand up to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from pipeline.config.section import Section, Share

ClassName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_. -]{0,63}$")]


class SampleConfig(Section):
    """The embedded synthetic images, used when no source is given."""

    patients: int = Field(24, ge=12, le=200)
    images_per_magnification: int = Field(1, ge=1, le=20)


class SplitConfig(Section):
    """How patients are divided into train, validation and test."""

    test_share: Share = 0.10  # of all patients, class by class
    validation_share: Share = 0.20  # of the patients that are not for test
    folds: int | None = Field(None, ge=2, le=20)  # k-fold cross-validation instead of test_share
    fold: int | None = Field(None, ge=0)  # the one for test, from 0
    file: Path | None = None  # the split of an earlier run, or an official fold (dsfold1.txt), instead

    @model_validator(mode="after")
    def _one_way(self) -> SplitConfig:
        if (self.folds is None) != (self.fold is None):
            raise ValueError("folds and fold go together, such as folds=5 and fold=0")
        if self.folds is not None and self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} is beyond the {self.folds} folds, which count from 0")
        if self.file is not None and self.folds is not None:
            raise ValueError("give either folds and fold, or a file")
        return self


class DataConfig(Section):
    """Where the images are, what they are, and how patients are divided."""

    # BreaKHis as a folder, .zip, .tar or .tar.gz, or a .csv manifest of any other images; none means the
    # synthetic sample data
    source: Path | None = None
    root: Path | None = None  # folder or archive that a manifest's paths are in; none means the manifest's
    sample: SampleConfig = SampleConfig()
    classes: tuple[ClassName, ClassName] = ("benign", "malignant")  # the second is the positive one
    # columns by which the models are judged too; none means magnification and subtype of BreaKHis, and all
    # further columns of a manifest
    slices: tuple[str, ...] | None = None
    schema_file: Path | None = None  # none means the bundled one for BreaKHis or for manifests
    max_bad_share: float = Field(0.0, ge=0, lt=1)  # of unusable images above which a run fails
    allow_leaks: bool = False  # go on where the same pixels are in several splits, under several patients
    split: SplitConfig = SplitConfig()
    keep_duplicate_slides: bool = (
        False  # slide 14-13412 stands under two subtypes; by default one copy is kept
    )

    @model_validator(mode="after")
    def _two_classes(self) -> DataConfig:
        if self.classes[0] == self.classes[1]:
            raise ValueError(f"classes: both are {self.classes[0]}")
        return self


class DataGateConfig(Section):
    """What the data must stand up to beside the schema."""

    # fail when the training images drifted since the last successful run; the schema says how far they may
    drift: bool = False
