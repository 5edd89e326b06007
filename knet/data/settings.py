"""Settings of the data: source, checks, splits, data gate."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from knet.base.settings import Fraction, LocalPath, Section

ClassName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_. -]{0,63}$")]


class SampleConfig(Section):
    """The bundled synthetic images, used when `data.source` is null."""

    patients: int = Field(
        24, ge=12, le=200, description="Synthetic patients.", json_schema_extra={"unit": "patients"}
    )
    images_per_magnification: int = Field(
        1,
        ge=1,
        le=20,
        description="Images of each patient at each magnification.",
        json_schema_extra={"unit": "images"},
    )


class SplitConfig(Section):
    """The split of patients into train, validation and test."""

    test_share: Fraction = Field(
        0.10,
        description="Patients for test, in each class.",
        json_schema_extra={"unit": "fraction of all patients"},
    )
    validation_share: Fraction = Field(
        0.20,
        description="Patients for validation, in each class.",
        json_schema_extra={"unit": "fraction of the patients not for test"},
    )
    folds: int | None = Field(
        None,
        ge=2,
        le=20,
        description="Folds of a cross-validation; replaces test_share and needs fold.",
        json_schema_extra={"unit": "folds"},
    )
    fold: int | None = Field(
        None, ge=0, description="Index, from 0, of the fold that is for test; needs folds."
    )
    file: LocalPath | None = Field(
        None,
        description="Frozen split of an earlier run, or an official BreaKHis fold (dsfold1.txt); replaces "
        "test_share.",
    )

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
    """The images: source, classes, checks and splits."""

    source: LocalPath | None = Field(
        None,
        description="BreaKHis as a folder, .zip, .tar or .tar.gz, or a .csv manifest of other images. null: "
        "the bundled synthetic images.",
    )
    root: LocalPath | None = Field(
        None,
        description="Folder or archive that the paths in a manifest are relative to. null: the manifest's "
        "folder.",
    )
    sample: SampleConfig = SampleConfig()
    classes: tuple[ClassName, ClassName] = Field(
        ("benign", "malignant"), description="Negative and positive class, in this order."
    )
    slices: tuple[str, ...] | None = Field(
        None,
        description="Columns that metrics are sliced by. null: magnification and subtype of BreaKHis; every "
        "further column of a manifest.",
    )
    schema_file: LocalPath | None = Field(
        None,
        description="TFDV schema (.pbtxt) that the data gate validates against. null: the bundled one for "
        "BreaKHis or for manifests.",
    )
    max_invalid_fraction: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Highest fraction of unusable image files; above it the run fails.",
        json_schema_extra={"unit": "fraction of the files"},
    )
    allow_cross_split_duplicates: bool = Field(
        False,
        description="Only report images whose pixels are in several splits under several patients, instead "
        "of failing the run.",
    )
    split: SplitConfig = SplitConfig()
    keep_duplicate_slides: bool = Field(
        False,
        description="Keep both copies of slide 14-13412, which BreaKHis files under two subtypes; false "
        "keeps one.",
    )

    @model_validator(mode="after")
    def _two_classes(self) -> DataConfig:
        if self.classes[0] == self.classes[1]:
            raise ValueError(f"classes: both are {self.classes[0]}")
        return self


class DataGateConfig(Section):
    """Checks of the data beyond the schema."""

    drift: bool = Field(
        False,
        description="Fail the run if the training images drifted from those of the last successful run; the "
        "schema holds the thresholds.",
    )
