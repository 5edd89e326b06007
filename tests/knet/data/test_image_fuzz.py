"""Any files in a data folder or archive are ingested or listed."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knet.base.errors import UnusableError, UserError
from knet.data.catalog import Catalog, read_catalog
from knet.data.fingerprint import fingerprint
from knet.data.ingest import make_example

CLASSES = ("benign", "malignant")
GOOD = "benign/SOB/adenosis/SOB_B_A_14-1/40X/SOB_B_A-14-1-40-001.png"
_LISTS = ("quarantined", "excluded_duplicates", "ignored_files")
Tree = dict[str, bytes]

# Parts of names: those of BreaKHis, those that are skipped, and any others that a disk can hold.
_KNOWN_PARTS = (
    *GOOD.split("/"),
    *("malignant", "100X", "SOB_B_A-14-1-40-002.png", "SOB_M_DC-14-2-40-001.png", "README.txt", "scan.PNG"),
    *("Thumbs.db", ".hidden", "__MACOSX", "b\u00f6se \x1b[31m.tif", "new\nline.png"),
)
_characters = st.characters(exclude_categories=["Cs"], exclude_characters="/\0\\")
_any_parts = st.text(_characters, min_size=1, max_size=8).filter(lambda part: part not in (".", ".."))
_parts = st.sampled_from(_KNOWN_PARTS) | _any_parts
_positions = st.integers(0, 10**6)
_names = st.just(GOOD) | st.lists(_parts, min_size=1, max_size=6).map("/".join)


@st.composite
def _trees(draw: st.DrawFn, picture: Callable[..., bytes]) -> Tree:
    """Files by name: whole images, damaged ones, and any bytes."""
    whole = [picture(), picture("L"), picture("RGBA"), picture(kind="JPEG"), picture(kind="TIFF"), b""]
    tree: Tree = {}
    for name in draw(st.lists(_names, max_size=6, unique=True)):
        if any(name.startswith(f"{other}/") or other.startswith(f"{name}/") for other in tree):
            continue  # a file cannot be a folder too
        content = bytearray(draw(st.sampled_from(whole) | st.binary(max_size=40)))
        for position in draw(st.lists(_positions, max_size=2)):
            if content:
                content[position % len(content)] ^= 0xFF
        tree[name] = bytes(content)
    return tree


def _write(tree: Tree, place: Path, kind: str) -> Path:
    if kind == "folder":
        for name, content in tree.items():
            (place / "data" / name).parent.mkdir(parents=True, exist_ok=True)
            (place / "data" / name).write_bytes(content)
        (place / "data").mkdir(exist_ok=True)
        return place / "data"
    archive = place / f"data.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for name, content in tree.items():
                packed.writestr(name, content)
        return archive
    with tarfile.open(archive, "w:gz" if kind == "tar.gz" else "w") as tar:
        for name, content in tree.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive


def _ingested_and_unusable(catalog: Catalog, place: Path) -> tuple[int, int]:
    good = bad = 0
    with catalog.source.random_access(place) as source, source.open() as reader:
        for image in catalog.images:
            try:
                make_example(image, reader.read(image.path), split="train", classes=CLASSES)
            except UnusableError as error:
                assert str(error)
                bad += 1
            else:
                good += 1
    return good, bad


def _is_skipped(name: str) -> bool:
    parts = name.split("/")
    hidden = any(part.startswith(".") for part in parts)
    return hidden or parts[-1] in ("Thumbs.db", "desktop.ini") or "__MACOSX" in parts[:-1]


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "tar.gz"])
@settings(max_examples=60)
@given(data=st.data())
def test_every_file_of_any_tree_is_ingested_or_listed(
    data: st.DataObject, kind: str, picture: Callable[..., bytes]
) -> None:
    tree = data.draw(_trees(picture))
    with TemporaryDirectory() as temporary:
        place = Path(temporary)
        location = _write(tree, place, kind)
        try:
            catalog = read_catalog(location)
            assert len(fingerprint(catalog, cache=place / "cache.json")) == 64
        except UserError as error:
            assert str(location) in str(error)  # said of the whole: no image at all, or no such folders
            return
        good, bad = _ingested_and_unusable(catalog, place)
    listed = len(catalog.quarantined) + len(catalog.ignored_files) + len(catalog.excluded_duplicates)
    assert good + bad + listed == sum(not _is_skipped(name) for name in tree)


_places = st.sampled_from(("", "breast", "BreaKHis_v1/histology_slides/breast", "x/y", "benign"))


@settings(max_examples=100)
@given(data=st.data(), place=_places, others=st.lists(_places, max_size=2))
def test_any_folder_gives_the_catalog_of_its_archive(
    data: st.DataObject, place: str, others: list[str], picture: Callable[..., bytes]
) -> None:
    tree = data.draw(_trees(picture))
    if place:
        tree = {f"{place}/{name}": content for name, content in tree.items()}
    for other in others:  # a second copy, or files beside the data
        name = f"{other}/{data.draw(st.sampled_from((GOOD, 'scan.png', 'README.txt', '.hidden')))}".lstrip(
            "/"
        )
        if not any(name.startswith(f"{known}/") or known.startswith(f"{name}/") for known in tree):
            tree[name] = b""
    outcomes = []
    for kind in ("folder", "zip"):
        with TemporaryDirectory() as temporary:
            location = _write(tree, Path(temporary), kind)
            try:
                catalog = read_catalog(location)
            except UserError as error:
                outcomes.append(str(error).replace(str(location), "data"))
            else:
                outcomes.append(str([getattr(catalog, name) for name in ("images", *_LISTS, "sizes")]))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@settings(max_examples=60)
@given(positions=st.lists(_positions, min_size=1, max_size=4), cut=_positions | st.none())
def test_any_damaged_archive_is_read_or_refused(
    positions: list[int], cut: int | None, kind: str, picture: Callable[..., bytes]
) -> None:
    with TemporaryDirectory() as temporary:
        place = Path(temporary)
        archive = _write({GOOD: picture(), GOOD.replace("001.png", "002.png"): picture()}, place, kind)
        content = bytearray(archive.read_bytes())
        for position in positions:
            content[position % len(content)] ^= 0xFF
        archive.write_bytes(content if cut is None else content[: cut % len(content)])
        try:
            catalog = read_catalog(archive)
            assert sum(_ingested_and_unusable(catalog, place)) == len(catalog.images)
        except UserError as error:
            assert str(archive) in str(error)
