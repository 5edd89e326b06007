"""Drawing of synthetic H&E-like tissue: glands or nests of nuclei in a stroma of fibres."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

# Radius of a benign nucleus by magnification, in pixels of an image 700 pixels wide: the unit of length of
# everything drawn.
_NUCLEUS_RADIUS = {40: 3.4, 100: 6.5, 200: 12.0, 400: 22.0}
_REFERENCE_WIDTH = 700
MAGNIFICATIONS: Final = tuple(_NUCLEUS_RADIUS)
# Absorbance per unit of stain in red, green and blue.
_HAEMATOXYLIN = (0.62, 0.72, 0.31)
_EOSIN = (0.13, 0.93, 0.34)
_OVERSAMPLING = 2  # for smooth edges

_Field = NDArray[np.float32]  # one value a pixel, [height, width]
_Numbers = NDArray[np.float64]


class Stain(NamedTuple):
    """Stain and light of a patient's slides; they vary so that mean colour does not tell the class."""

    haematoxylin: _Numbers  # absorbance in red, green and blue, [3]
    eosin: _Numbers  # absorbance in red, green and blue, [3]
    light: _Numbers  # transmitted light of the empty slide, 0 to 255, [3]


def random_stain(rng: np.random.Generator) -> Stain:
    """Draw the stain of a patient."""
    return Stain(
        haematoxylin=(_HAEMATOXYLIN + rng.normal(0, 0.06, 3)) * rng.uniform(0.65, 1.35),
        eosin=(_EOSIN + rng.normal(0, 0.06, 3)).clip(0) * rng.uniform(0.65, 1.35),
        light=(rng.uniform(210, 250) + rng.normal(0, 3, 3)).clip(0, 255),
    )


def draw_tissue(
    rng: np.random.Generator, stain: Stain, size: tuple[int, int], *, label: str, magnification: int
) -> Image.Image:
    """Draw an RGB image of tissue.

    Args:
        rng: Generator of everything in the image.
        stain: Stain and light of the patient's slides.
        size: Width and height in pixels.
        label: `benign` or `malignant`.
        magnification: One of `MAGNIFICATIONS`.
    """
    unit = _NUCLEUS_RADIUS[magnification] * size[0] / _REFERENCE_WIDTH
    fibres, direction = _fibres(rng, unit, size)
    tissue = (_benign if label == "benign" else _malignant)(rng, unit, size)
    stroma = 1 - tissue.cytoplasm
    lumina = _fill(tissue.lumina, np.ones(len(tissue.lumina.radii)), size, blur=0.25 * unit)
    clefts = stroma * _clefts(rng, unit, size)
    solid = 1 - np.maximum(lumina, clefts)

    spindles = _spindles(rng, unit, size, direction)
    thin = _fill(spindles, np.full(len(spindles.radii), 0.75), size, blur=0.12 * unit)
    nuclei = _fill(tissue.nuclei, tissue.shades, size, blur=0.12 * unit)
    nuclei = np.maximum((1 - lumina) * nuclei, stroma * solid * thin)
    chromatin = 1 + 0.15 * _noise(rng, 0.4 * unit, size)
    mottle = solid * (1 + 0.12 * _noise(rng, 0.8 * unit, size))

    haematoxylin = nuclei * chromatin + mottle * (0.1 + 0.2 * tissue.cytoplasm)
    eosin = (1 - 0.5 * nuclei) * (0.3 * tissue.cytoplasm * mottle + stroma * solid * (0.34 + 0.11 * fibres))
    # One channel after the other: twice as fast as with channels in the last dimension.
    channels = [
        Image.fromarray((light * np.exp(-(haematoxylin * blue + eosin * pink))).astype(np.uint8))
        for blue, pink, light in zip(*(np.asarray(part, np.float32) for part in stain), strict=True)
    ]
    return Image.merge("RGB", channels)


class _Blobs(NamedTuple):
    """Closed wavy outlines, each stretched along an angle; lengths in pixels."""

    centres: _Numbers  # x, y: [n, 2]
    radii: _Numbers  # [n]
    stretch: _Numbers  # ratio of length to breadth, [n]
    angles: _Numbers  # direction of the length, radians, [n]
    waves: _Numbers  # ratio of the amplitude to the radius, [n]
    phases: _Numbers  # phases of two, three and five waves per turn, radians, [n, 3]

    def outlines(self, points: int) -> _Numbers:
        """Compute x, y of points on each outline, [n, points, 2]."""
        turn = np.linspace(0, 2 * np.pi, points, endpoint=False)
        waves = np.cos(turn[:, None, None] * (2, 3, 5) + self.phases).mean(axis=-1).T
        radii = self.radii[:, None] * (1 + self.waves[:, None] * waves)
        along = radii * np.cos(turn) * np.sqrt(self.stretch)[:, None]
        across = radii * np.sin(turn) / np.sqrt(self.stretch)[:, None]
        cos, sin = np.cos(self.angles)[:, None], np.sin(self.angles)[:, None]
        return self.centres[:, None] + np.stack([along * cos - across * sin, along * sin + across * cos], -1)


class _Tissue(NamedTuple):
    """Structures that differ between the classes."""

    nuclei: _Blobs
    shades: _Numbers  # haematoxylin in each nucleus, 1 is full, [n]
    lumina: _Blobs
    cytoplasm: _Field  # share of epithelial cells, 0 to 1


def _benign(rng: np.random.Generator, unit: float, size: tuple[int, int]) -> _Tissue:
    """Lay out round glands: small, even nuclei in two rows around a white lumen."""
    centres = _scatter(rng, rng.uniform(17, 26) * unit, size, jitter=0.2)
    centres = centres[_at(centres, _noise(rng, 30 * unit, size)) > -1]
    glands = _blobs(rng, centres, rng.uniform(3, 7.5, len(centres)) * unit, stretch=1.4, waves=0.15)
    inner = _ring(rng, glands, unit, distance=1.6, spacing=2.3, radius=0.95, stretch=1.25, lie=0)
    outer = _ring(rng, glands, unit, distance=3.7, spacing=3.4, radius=0.7, stretch=1.8, lie=np.pi / 2)
    nuclei = _Blobs(*map(np.concatenate, zip(inner, outer, strict=True)))
    walls = glands._replace(radii=glands.radii + 4.5 * unit)
    return _Tissue(
        nuclei=nuclei,
        shades=rng.normal(0.72, 0.06, len(nuclei.radii)),
        lumina=glands,
        cytoplasm=_fill(walls, np.ones(len(centres)), size, blur=0.5 * unit),
    )


def _malignant(rng: np.random.Generator, unit: float, size: tuple[int, int]) -> _Tissue:
    """Lay out crowded nests: large, dark nuclei of uneven size and outline, few narrow lumina."""
    field = _noise(rng, 14 * unit, size) + 0.3 * _noise(rng, 4 * unit, size)
    cytoplasm = _ramp(field, float(np.quantile(field, rng.uniform(0.4, 0.6))), softness=0.25)
    centres = _scatter(rng, 3.1 * unit, size, jitter=0.4)
    centres = centres[_at(centres, cytoplasm) > 0.5]
    radii = 1.4 * unit * rng.lognormal(0, 0.25, len(centres))
    slits = _scatter(rng, 22 * unit, size, jitter=0.4)
    return _Tissue(
        nuclei=_blobs(rng, centres, radii, stretch=1.45, waves=0.2),
        shades=rng.normal(0.92, 0.12, len(centres)),
        lumina=_blobs(rng, slits, rng.uniform(0.8, 3, len(slits)) * unit, stretch=2.2, waves=0.5),
        cytoplasm=cytoplasm,
    )


def _ring(
    rng: np.random.Generator,
    glands: _Blobs,
    unit: float,
    *,
    distance: float,
    spacing: float,
    radius: float,
    stretch: float,
    lie: float,
) -> _Blobs:
    """Lay out a row of nuclei around each gland.

    Lengths are in units; `lie` is the angle between the length of a nucleus and its spoke, in radians.
    """
    walls = glands._replace(radii=glands.radii + distance * unit)
    counts = (2 * np.pi * walls.radii / (spacing * unit)).astype(int)
    steps = 128  # points of a wall; evenly spaced ones get a nucleus
    chosen = np.diff(np.arange(steps + 1) * counts[:, None] // steps) > 0
    places = walls.outlines(steps)
    spokes = (places - walls.centres[:, None])[chosen]
    centres = places[chosen] + rng.normal(0, 0.12 * unit, spokes.shape)
    radii = radius * unit * rng.normal(1, 0.07, len(centres))
    angles = np.arctan2(spokes[:, 1], spokes[:, 0]) + lie
    return _blobs(rng, centres, radii, stretch=stretch, waves=0.06, angles=angles)


def _spindles(rng: np.random.Generator, unit: float, size: tuple[int, int], direction: float) -> _Blobs:
    """Lay out the thin nuclei of the stroma, along its fibres."""
    centres = _scatter(rng, rng.uniform(3.8, 7) * unit, size, jitter=0.45)
    radii = rng.uniform(0.5, 0.8, len(centres)) * unit
    angles = rng.normal(direction, 0.35, len(centres))
    return _blobs(rng, centres, radii, stretch=3.2, waves=0.1, angles=angles)


def _clefts(rng: np.random.Generator, unit: float, size: tuple[int, int]) -> _Field:
    """Make the tears of the stroma, 0 to 1: white, as lumina are, in both classes."""
    field = _noise(rng, 9 * unit, size) + 0.5 * _noise(rng, 3 * unit, size)
    return _ramp(field, rng.uniform(1.6, 2.2), softness=0.15)


def _blobs(
    rng: np.random.Generator,
    centres: _Numbers,
    radii: _Numbers,
    *,
    stretch: float,
    waves: float,
    angles: _Numbers | None = None,
) -> _Blobs:
    """Make blobs that differ a little from each other; stretch and waves are means."""
    count = len(centres)
    return _Blobs(
        centres=centres,
        radii=radii,
        stretch=1 + (stretch - 1) * rng.uniform(0.5, 1.5, count),
        angles=rng.uniform(0, np.pi, count) if angles is None else angles,
        waves=waves * rng.uniform(0.5, 1.5, count),
        phases=rng.uniform(0, 2 * np.pi, (count, 3)),
    )


def _scatter(rng: np.random.Generator, spacing: float, size: tuple[int, int], *, jitter: float) -> _Numbers:
    """Scatter points evenly over the image and a little beyond.

    Returns:
        x, y of the points, [n, 2]; their jitter is relative to the spacing.
    """
    columns, rows = (np.arange(-1, length / spacing + 2) for length in size)
    column, row = np.meshgrid(columns, rows)
    grid = np.stack([column + row % 2 / 2, row], -1).reshape(-1, 2) + rng.uniform(-0.5, 0.5, 2)
    return (grid + rng.uniform(-jitter, jitter, grid.shape)) * spacing


def _at(points: _Numbers, field: _Field) -> _Field:
    """Sample the field at each point, or at the nearest pixel."""
    rows, columns = field.shape
    return field[points[:, 1].astype(int).clip(0, rows - 1), points[:, 0].astype(int).clip(0, columns - 1)]


def _noise(rng: np.random.Generator, cell: float, size: tuple[int, int]) -> _Field:
    """Make smooth noise of mean 0 and deviation near 1 that changes over `cell` pixels."""
    columns, rows = (int(length / cell) + 2 for length in size)
    grid = Image.fromarray(rng.normal(0, 1.3, (rows, columns)).astype(np.float32))
    return np.asarray(grid.resize(size, Image.Resampling.BICUBIC))


def _fibres(rng: np.random.Generator, unit: float, size: tuple[int, int]) -> tuple[_Field, float]:
    """Make wavy fibres of mean 0 and deviation near 1.

    Returns:
        The fibres, and their direction in radians.
    """
    direction = rng.uniform(0, np.pi)
    row, column = np.ogrid[: size[1], : size[0]]
    across = column * np.sin(direction) - row * np.cos(direction)
    across = across / unit + 2.5 * _noise(rng, 12 * unit, size) + 0.6 * _noise(rng, 4 * unit, size)
    profile = np.convolve(rng.normal(0, 1, 4096), np.hanning(12) / 2, "same").astype(np.float32)
    return profile[(across * 16).astype(int) % len(profile)], direction


def _ramp(field: _Field, threshold: float, *, softness: float) -> _Field:
    """Map a field to 0 below the threshold and 1 above it, with a soft step between."""
    return 1 / (1 + np.exp(((threshold - field) / softness * 4).clip(-20, 20)))


def _fill(blobs: _Blobs, shades: _Numbers, size: tuple[int, int], *, blur: float) -> _Field:
    """Fill blobs with their shades, 0 to 1, on a background of 0, with edges blurred over `blur` pixels."""
    canvas = Image.new("L", (size[0] * _OVERSAMPLING, size[1] * _OVERSAMPLING))
    pen = ImageDraw.Draw(canvas)
    corners = 20
    outlines = (blobs.outlines(corners) * _OVERSAMPLING).reshape(-1, 2 * corners)
    greys = (shades.clip(0, 1) * 255).astype(int)
    for outline, grey in zip(outlines.tolist(), greys.tolist(), strict=True):
        pen.polygon(outline, fill=grey)
    smooth = canvas.reduce(_OVERSAMPLING).filter(ImageFilter.GaussianBlur(blur))
    return np.asarray(smooth, np.float32) / np.float32(255)
