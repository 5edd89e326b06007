"""Measures how the memory and time of ExampleGen's driver grow with the number of images.

    python benchmarks/ingest_scale.py                            # 10,000 and 100,000 images
    python benchmarks/ingest_scale.py --images 10000 100000 1000000

The images are distinct PNG files of 32x32 pixels, the smallest that are ingested, in a folder for each slide,
and are named in a manifest. A driver is a process that reads the catalog, takes the fingerprint as preflight
does, and runs ExampleGen's executor with two workers in processes of their own. Its peak memory is of this
process alone. The slopes are those between the smallest and the largest number of images; five million are
extrapolated.
"""

from __future__ import annotations

import argparse
import json
import shutil
import struct
import tempfile
import time
import zlib
from pathlib import Path

from ingest import run_example_gen
from measure import measure, peak_bytes, run_measured

_SIDE = 32  # pixels
_PER_SLIDE = 500  # images
_PATIENTS = 40
_EXTRAPOLATED = 5_000_000


def write_images(folder: Path, *, count: int) -> Path:
    """Write that many images, and the manifest that is returned."""
    manifest = folder / "manifest.csv"
    with manifest.open("w", encoding="utf-8") as table:
        table.write("path,label,group,slide\n")
        for number in range(count):
            slide, patch = divmod(number, _PER_SLIDE)
            patient = slide % _PATIENTS if count > _PER_SLIDE * _PATIENTS else number % _PATIENTS
            x, y = patch % 25 * 256, patch // 25 * 256
            path = f"patches/slide-{slide:06}/patient-{patient:02}-x{x:05}-y{y:05}.png"
            if not patch:
                (folder / path).parent.mkdir(parents=True)
            (folder / path).write_bytes(_png(number))
            label = ("benign", "malignant")[patient % 2]
            table.write(f"{path},{label},{patient:02},{slide:06}\n")
    return manifest


def _png(number: int) -> bytes:
    """Return a PNG whose pixels are those of no other number."""
    row = b"\0" + struct.pack("<I", number) * (_SIDE * 3 // 4)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(row * _SIDE, 1)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def run_driver(manifest: Path, out: Path) -> None:
    """Take the fingerprint and ingest the images, as a run does."""
    from knet.data.catalog import read_catalog
    from knet.data.fingerprint import fingerprint

    cache = out / "fingerprints.json"
    started = time.monotonic()
    catalog = read_catalog(manifest)
    listed = time.monotonic()
    digest = fingerprint(catalog, cache=cache)
    hashed = time.monotonic()
    del catalog
    run_example_gen(manifest, out, workers=2, fingerprint=digest, digests=str(cache))
    ended = time.monotonic()
    steps = {"catalog": listed - started, "fingerprint": hashed - listed, "ExampleGen": ended - hashed}
    (out / "driver.json").write_text(json.dumps({"steps": steps, "peak": peak_bytes()}), "utf-8")


def main() -> None:
    """Print a line for each number of images, and the slopes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument(
        "--folder", type=Path, help="folder for the images, which are removed; default: temporary"
    )
    parser.add_argument("--driver", nargs=2, metavar=("MANIFEST", "OUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.driver:
        from tfx.types import standard_artifacts as _  # noqa: F401 (importing is not to be measured)

        run_measured(lambda: run_driver(*map(Path, arguments.driver)))
        return
    print(f"{'images':>9} {'seconds':>8} {'CPU s':>8} {'driver MiB':>10} {'files':>6}  seconds of each step")
    rows = []
    for count in sorted(arguments.images):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
            folder = Path(temporary)
            manifest, out = write_images(folder, count=count), folder / "out"
            out.mkdir()
            measured = measure(__file__, ["--driver", str(manifest), str(out)])
            driver = json.loads((out / "driver.json").read_text("utf-8"))
            files = sum(1 for _ in (out / "examples").glob("Split-*/*"))
            shutil.rmtree(out)
        rows.append((count, measured.seconds, driver["peak"]))
        steps = ", ".join(f"{name} {seconds:.1f}" for name, seconds in driver["steps"].items())
        print(
            f"{count:9} {measured.seconds:8.1f} {measured.cpu_seconds:8.1f} {driver['peak'] / 2**20:10.0f} "
            f"{files:6}  {steps}",
            flush=True,
        )
    if len(rows) > 1:
        (few, quick, small), (many, slow, large) = rows[0], rows[-1]
        memory, seconds = (large - small) / (many - few), (slow - quick) / (many - few)
        rest = _EXTRAPOLATED - many
        print(
            f"slopes: {memory:.0f} bytes of the driver and {seconds * 1000:.2f} ms an image; "
            f"{_EXTRAPOLATED} images: {(large + rest * memory) / 2**20:.0f} MiB and "
            f"{(slow + rest * seconds) / 3600:.1f} hours"
        )


if __name__ == "__main__":
    main()
