"""BreaKHis names: parse the paths of its images into class, patient, slide, subtype and magnification."""

from __future__ import annotations

import re
from typing import Final

from knet.data.source import ImageFile

CLASSES: Final = ("benign", "malignant")  # names of the top folders
SUBTYPES: Final = {
    "A": "adenosis",
    "F": "fibroadenoma",
    "PT": "phyllodes_tumor",
    "TA": "tubular_adenoma",
    "DC": "ductal_carcinoma",
    "LC": "lobular_carcinoma",
    "MC": "mucinous_carcinoma",
    "PC": "papillary_carcinoma",
}
COLUMNS: Final = ("slide", "subtype", "magnification", "year", "sequence")
SLICES: Final = ("magnification", "subtype")  # as the literature compares results
GRAMMAR: Final = "SOB_<B|M>_<subtype>-<year>-<accession><letters>-<40|100|200|400>-<three digits>.png"

_CLASS_OF_LETTER = {"B": "benign", "M": "malignant"}
_NAME = re.compile(
    r"SOB_(?P<letter>B|M)_(?P<code>A|F|PT|TA|DC|LC|MC|PC)"
    r"-(?P<year>[0-9]{2})-(?P<number>[0-9]+)(?P<suffix>[A-Z]*)"
    r"-(?P<magnification>40|100|200|400)-(?P<sequence>[0-9]{3})\.(?i:png)"
)


def parse_path(path: str) -> ImageFile:
    """Parse the path of an image.

    Args:
        path: Path relative to the folder `breast`, such as
            `benign/SOB/adenosis/SOB_B_A_14-22549AB/40X/SOB_B_A-14-22549AB-40-001.png`.

    Raises:
        ValueError: The name does not follow the grammar, or contradicts its folder; the message is why.
    """
    image = parse_name(path.rpartition("/")[2])
    if path != image.path:
        raise ValueError(f"by its name it belongs in {image.path}")
    return image


def parse_name(name: str) -> ImageFile:
    """Parse the file name of an image; the result has the path where it belongs.

    The patient is the accession with its year, such as 14-22549, which may have several slides.

    Args:
        name: File name, such as `SOB_B_A-14-22549AB-40-001.png`.

    Raises:
        ValueError: The name does not follow the grammar.
    """
    match = _NAME.fullmatch(name)
    if not match:
        raise ValueError(f"the name is outside the grammar {GRAMMAR}")
    part = match.groupdict()
    patient = f"{part['year']}-{part['number']}"
    slide = patient + part["suffix"]
    label, subtype = _CLASS_OF_LETTER[part["letter"]], SUBTYPES[part["code"]]
    magnification = part["magnification"] + "X"
    path = f"{label}/SOB/{subtype}/SOB_{part['letter']}_{part['code']}_{slide}/{magnification}/{name}"
    values = (slide, subtype, magnification, part["year"], part["sequence"])
    return ImageFile(path, label, patient, tuple(zip(COLUMNS, values, strict=True)))
