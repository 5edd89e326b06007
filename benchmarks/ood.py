"""How often a served model flags images as out of distribution: those of its kind, and those of other kinds.

    python benchmarks/ood.py runs/demo/serving/knet TEST_FOLDER OTHER_FOLDER...

Each folder is looked through for PNG, JPEG and TIFF files; with `--size`, they are resized to so many pixels
a side first. What is made of the first folder's images, and images that are none, are asked about too.
"""

from __future__ import annotations

import argparse
import io
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from knet.client import Client
from knet.client.results import Prediction
from knet.serving.dev_server.server import DevServer

_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_NONE_COUNT = 20  # images of each kind that is none


def main() -> None:
    """Prints a line a kind of images."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, help="folder of versions, as Pusher leaves it")
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--size", type=int, help="pixels a side")
    arguments = parser.parse_args()
    kinds = {str(folder): _images(folder, arguments.size) for folder in arguments.folders}
    own = next(iter(kinds.values()))
    changes: dict[str, Callable[[Image.Image], Image.Image]] = {
        "blurred by 2 px": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
        "red and blue exchanged": lambda image: Image.merge("RGB", image.split()[::-1]),
        "turned upside down": lambda image: image.rotate(180),
    }
    for name, change in changes.items():
        kinds[f"first, {name}"] = [change(image) for image in own]
    kinds |= dict(_no_images(own[0].size))
    with DevServer(arguments.models, port=0) as server, Client(server.address, timeout=600) as client:
        for name, images in kinds.items():
            print(f"{name:<40} {_summary(client.predict([_png(image) for image in images]))}", flush=True)


def _images(folder: Path, size: int | None) -> list[Image.Image]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    images = [Image.open(file).convert("RGB") for file in files]
    return [image.resize((size, size), Image.Resampling.BICUBIC) for image in images] if size else images


def _no_images(size: tuple[int, int]) -> Iterator[tuple[str, list[Image.Image]]]:
    """White, black, one colour, noise, and smooth gradients."""
    rng = np.random.default_rng(0)
    shape = (size[1], size[0], 3)
    places = np.stack(np.meshgrid(*(np.linspace(-1, 1, side) for side in size)), axis=-1)
    makers: dict[str, Callable[[], np.ndarray]] = {
        "white": lambda: np.full(shape, 255.0),
        "black": lambda: np.zeros(shape),
        "one colour": lambda: np.broadcast_to(rng.uniform(0, 255, 3), shape),
        "noise": lambda: rng.uniform(0, 255, shape),
        "gradients": lambda: 127 + 127 * np.sin(places @ rng.normal(0, 3, (2, 3)) + rng.uniform(0, 6, 3)),
    }
    for name, make in makers.items():
        yield name, [Image.fromarray(make().astype(np.uint8)) for _ in range(_NONE_COUNT)]


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _summary(predictions: list[Prediction]) -> str:
    flagged = [prediction for prediction in predictions if not prediction.in_distribution]
    reasons = Counter(reason for prediction in flagged for reason in prediction.reasons)
    distance = float(np.median([prediction.distance for prediction in predictions]))
    why = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    return (
        f"{len(flagged):4} of {len(predictions):4} ({len(flagged) / len(predictions):6.1%}) flagged, "
        f"median distance {distance:6.1f}  {why}"
    )


if __name__ == "__main__":
    main()
