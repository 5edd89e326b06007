"""Where the winner looks."""

from __future__ import annotations

from pipeline.report.inputs import Inputs
from pipeline.report.section import Section

_TITLE = "Heat maps"
_KINDS = {
    "certain": "Most certain, and right",
    "wrong": "Most wrong",
    "uncertain": "Most uncertain",
}


def heat_maps(inputs: Inputs) -> Section:
    """Grad-CAM of some test images of each kind, beside the images, and the check against random weights."""
    explained = inputs.explanations
    if explained is None or not explained["images"]:
        return Section(
            "heat_maps",
            _TITLE,
            missing="No image was explained: the run ended before, or report.explanations is 0.",
        )
    kinds = [
        (title, [image for image in explained["images"] if image["kind"] == kind])
        for kind, title in _KINDS.items()
    ]
    return Section(
        "heat_maps",
        _TITLE,
        {**explained, "kinds": kinds, "positive": inputs.record.config["data"]["classes"][1]},
    )
