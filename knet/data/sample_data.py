"""Synthetic H&E-like images in the BreaKHis layout, to run everything without the data set."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import numpy as np

from knet.base.errors import UserError
from knet.data.breakhis import CLASSES, SUBTYPES
from knet.data.synthetic_tissue import MAGNIFICATIONS, draw_tissue, random_stain

MARKER: Final = "SYNTHETIC.json"  # marks BreaKHis_v1 as synthetic, and holds the parameters

_FOLDER = "BreaKHis_v1"
_CODES = {"benign": ("A", "F", "PT", "TA"), "malignant": ("DC", "LC", "MC", "PC")}
_FIRST_ACCESSION = 90001

_README = """\
# Synthetic images, not BreaKHis

The images in this folder are synthetic: `knet/data/sample_data.py` generated them from a seed and a few
parameters.

- They show neither tissue nor patients.
- Only the layout and the form of the file names are those of BreaKHis. The accession numbers are invented.
- They are for trying out the pipeline. Metrics computed from them have no medical meaning.

Parameters, as in `{marker}`:

{parameters}
"""


def write_sample_data(
    folder: Path,
    *,
    patients: int = 24,
    images_per_magnification: int = 1,
    width: int = 700,
    height: int = 460,
    seed: int = 0,
) -> Path:
    """Write synthetic images with the layout and names of BreaKHis.

    The same arguments give the same bytes on the same machine. Benign and malignant patients alternate; the
    first of each class has two slides, the others one. Existing images of the same arguments are reused.

    Args:
        folder: Folder to write `BreaKHis_v1` into; created if missing.
        patients: Number of patients, 8 (one for each subtype) or more.
        images_per_magnification: Images of each slide at each magnification, 1 to 999.
        width: Width of an image in pixels, 32 or more.
        height: Height of an image in pixels, 32 or more.
        seed: Seed of the images, 0 or more.

    Returns:
        Path of `BreaKHis_v1`.

    Raises:
        UserError: An argument is out of range, the folder cannot be written, or it has a `BreaKHis_v1` of
            other arguments.
    """
    _check("patients", patients, at_least=len(SUBTYPES))
    _check("images per magnification", images_per_magnification, at_least=1, at_most=999)
    _check("width", width, at_least=32)
    _check("height", height, at_least=32)
    _check("seed", seed, at_least=0)
    images = _images(patients, images_per_magnification)
    parameters = {
        "patients": patients,
        "images_per_magnification": images_per_magnification,
        "width": width,
        "height": height,
        "seed": seed,
    }
    marker = json.dumps({"synthetic": True, **parameters}, indent=2) + "\n"
    root = folder / _FOLDER
    if root.exists():
        same = (root / MARKER).is_file() and (root / MARKER).read_bytes() == marker.encode()
        if same and all((root / image.path).is_file() for image in images):
            return root
        raise UserError(
            f"{root} exists and does not hold all the synthetic images of these parameters; "
            "choose another folder, or move this one away"
        )
    listing = "\n".join(f"- {name}: {value}" for name, value in parameters.items())
    readme = _README.format(marker=MARKER, parameters=listing)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=".unfinished-") as temporary:
            unfinished = Path(temporary) / _FOLDER
            _write_images(unfinished, images, (width, height), seed)
            (unfinished / "README.md").write_bytes(readme.encode())
            (unfinished / MARKER).write_bytes(marker.encode())
            unfinished.rename(root)
    except OSError as error:
        raise UserError(f"cannot write synthetic images to {folder}: {error}") from error
    return root


def is_synthetic(data_root: Path) -> bool:
    """Tell whether a data folder holds images of `write_sample_data`.

    Args:
        data_root: `BreaKHis_v1`, the folder above it, or one of the folders down to `breast`.
    """
    root = data_root.resolve()
    return any((place / MARKER).is_file() for place in (root, root / _FOLDER, *root.parents[:2]))


def _check(name: str, value: int, *, at_least: int, at_most: int | None = None) -> None:
    if value < at_least or (at_most is not None and value > at_most):
        bounds = f"at least {at_least}" if at_most is None else f"{at_least} to {at_most}"
        raise UserError(f"synthetic images: {name} must be {bounds}, not {value}")


class _Image(NamedTuple):
    patient: int  # index, from 0
    slide: int  # index among the slides of the patient, from 0
    suffix: str  # suffix of the slide's name
    magnification: int  # such as 40
    sequence: int  # number, from 1

    @property
    def label(self) -> str:
        """Class of the patient; classes alternate."""
        return CLASSES[self.patient % len(CLASSES)]

    @property
    def path(self) -> str:
        """Path relative to `BreaKHis_v1`, with forward slashes."""
        codes = _CODES[self.label]
        code = codes[self.patient // len(CLASSES) % len(codes)]
        kind = f"SOB_{self.label[0].upper()}_{code}"
        slide = f"14-{_FIRST_ACCESSION + self.patient}{self.suffix}"
        return (
            f"histology_slides/breast/{self.label}/SOB/{SUBTYPES[code]}/{kind}_{slide}/{self.magnification}X/"
            f"{kind}-{slide}-{self.magnification}-{self.sequence:03}.png"
        )


def _images(patients: int, images_per_magnification: int) -> list[_Image]:
    return [
        _Image(patient, slide, suffix, magnification, sequence)
        for patient in range(patients)
        for slide, suffix in enumerate(("AB", "CD") if patient < len(CLASSES) else ("",))
        for magnification in MAGNIFICATIONS
        for sequence in range(1, images_per_magnification + 1)
    ]


def _write_images(root: Path, images: list[_Image], size: tuple[int, int], seed: int) -> None:
    def write(image: _Image) -> None:
        path = root / image.path
        path.parent.mkdir(parents=True, exist_ok=True)
        stain = random_stain(np.random.default_rng([seed, image.patient]))
        key = [seed, image.patient, image.slide, image.magnification, image.sequence]
        picture = draw_tissue(
            np.random.default_rng(key), stain, size, label=image.label, magnification=image.magnification
        )
        picture.save(path, compress_level=2)  # four times as fast as the default, a tenth larger

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(write, images))
