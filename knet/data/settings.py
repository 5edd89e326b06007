"""Settings of the data: source, checks, splits, data gate."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from knet.base.settings import Fraction, LocalPath, Section
from knet.base.split_units import PATIENT, SplitUnit
from knet.data import breakhis

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

    unit: SplitUnit = Field(
        "patient",
        description="Unit that is never divided. folder (slide folder) and image measure how much a leak of "
        "patients into test raises the metrics; no model is pushed. They need allow_patient_leak.",
    )
    allow_patient_leak: bool = Field(
        False,
        description="Allow a unit other than patient, which puts a patient's images into several splits.",
    )
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
    def _no_leak(self) -> SplitConfig:
        if self.unit == PATIENT:
            return self
        if not self.allow_patient_leak:
            raise ValueError(
                f"unit: {self.unit} puts images of one patient into training and test; set unit=patient, or "
                "allow_patient_leak=true to measure the leak"
            )
        if self.file is not None:
            raise ValueError(f"unit: a file is a split by patient, not by {self.unit}; set file=null")
        return self

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
    label: Literal["class", "subtype"] = Field(
        "class",
        description="Label of an image of BreaKHis. With subtype, data.classes defaults to all eight; images "
        "of subtypes that it does not name are excluded.",
    )
    classes: tuple[ClassName, ...] = Field(
        breakhis.CLASSES,
        min_length=2,
        description="Labels of the images. If there are two: the negative and the positive class.",
    )
    positive: tuple[ClassName, ...] | None = Field(
        None,
        min_length=1,
        description="With more than two classes: the names of those that form the positive group, which has "
        "a decision threshold. null: no group.",
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

    @model_validator(mode="before")
    @classmethod
    def _default_subtypes(cls, values: Any) -> Any:
        """Return the values with the classes that `label: subtype` stands for."""
        if not isinstance(values, dict) or values.get("label") != "subtype":
            return values
        classes = values.get("classes")
        given = classes is not None and tuple(classes) != breakhis.CLASSES
        return values if given else {**values, "classes": tuple(breakhis.SUBTYPES.values())}

    @model_validator(mode="after")
    def _distinct_classes(self) -> DataConfig:
        twice = [name for name, count in Counter(self.classes).items() if count > 1]
        if twice:
            raise ValueError(f"classes: {twice[0]} stands there twice; name each class once")
        self._check_positive(self.positive or ())
        if self.label == "class":
            return self
        if self.source and self.source.suffix.lower() == ".csv":
            raise ValueError("label: subtype is of BreaKHis, but the source is a manifest; remove data.label")
        unknown = [name for name in self.classes if name not in breakhis.SUBTYPES.values()]
        if unknown:
            raise ValueError(
                f"classes: {unknown[0]} is no subtype of BreaKHis; with data.label=subtype name some of "
                f"{', '.join(breakhis.SUBTYPES.values())}"
            )
        return self

    def _check_positive(self, positive: tuple[str, ...]) -> None:
        if not positive:
            return
        if len(self.classes) == 2:
            raise ValueError(
                f"positive: of two classes the second, {self.classes[1]}, is positive; remove data.positive"
            )
        unknown = [name for name in positive if name not in self.classes]
        if unknown:
            raise ValueError(f"positive: {unknown[0]} is not in data.classes; name some of these")
        if set(positive) == set(self.classes):
            raise ValueError("positive: it holds all of data.classes; leave at least one class out")
        if len(set(positive)) < len(positive):
            raise ValueError("positive: a class stands there twice; name each class once")


class DataGateConfig(Section):
    """Checks of the data beyond the schema."""

    drift: bool = Field(
        False,
        description="Fail the run if the training images drifted from those of the last successful run; the "
        "schema holds the thresholds.",
    )
