"""Fingerprints of data sets, and the cache of digests."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from knet.base.errors import UserError
from knet.data import fingerprint as module
from knet.data.catalog import read_catalog
from knet.data.fingerprint import fingerprint

BENIGN = "SOB_B_A-14-22549AB-40-001.png"
MALIGNANT = "SOB_M_DC-14-2523-400-012.png"
Fingerprint = Callable[[Path], str]


@pytest.fixture
def of(tmp_path: Path) -> Fingerprint:
    return lambda location: fingerprint(read_catalog(location), cache=tmp_path / "out" / "cache.json")


def place(root: Path, name: str) -> Path:
    (path,) = root.rglob(name)
    return path


def age(root: Path, *, seconds: int) -> None:
    """Sets the modification times of a folder's files back by seconds."""
    for path in root.rglob("*"):
        changed = path.stat().st_mtime - seconds
        os.utime(path, (changed, changed))


def test_fingerprint_is_the_same_for_any_name_of_the_folder(
    breakhis: Callable[..., Path], of: Fingerprint
) -> None:
    root = breakhis(BENIGN, MALIGNANT)
    assert len(of(root)) == 64
    assert of(root) == of(root) == of(root.parent)


def test_fingerprint_ignores_other_files_outside_the_classes(
    breakhis: Callable[..., Path], of: Fingerprint, picture: Callable[..., bytes]
) -> None:
    root = breakhis(BENIGN, MALIGNANT)
    alone = of(root)
    (root / "README.txt").write_text("1", encoding="utf-8")
    assert of(root) == alone
    (root / "scan.png").write_bytes(picture())
    with_image = of(root)
    (root / "scan.png").write_bytes(picture(colour=(0, 0, 1)))
    assert len({alone, with_image, of(root)}) == 3


def test_fingerprint_is_the_same_in_another_place(
    breakhis: Callable[..., Path], of: Fingerprint, tmp_path: Path
) -> None:
    root = breakhis(BENIGN, MALIGNANT)
    shutil.copytree(root, tmp_path / "copy")
    assert of(tmp_path / "copy") == of(root)


def test_fingerprint_changes_with_a_content(
    breakhis: Callable[..., Path], of: Fingerprint, picture: Callable[..., bytes]
) -> None:
    before = of(breakhis(BENIGN, MALIGNANT))
    assert of(breakhis(BENIGN, content=picture(colour=(0, 0, 1)))) != before


def test_fingerprint_changes_with_a_name(breakhis: Callable[..., Path], of: Fingerprint) -> None:
    root = breakhis(BENIGN, MALIGNANT)
    before = of(root)
    place(root, BENIGN).rename(place(root, BENIGN).with_name("SOB_B_A-14-22549AB-40-002.png"))
    assert of(root) != before


def test_fingerprint_changes_with_removed_and_added_files(
    breakhis: Callable[..., Path], of: Fingerprint
) -> None:
    root = breakhis(BENIGN, MALIGNANT)
    both = of(root)
    (place(root, BENIGN).with_name("stray.txt")).touch()
    stray = of(root)
    place(root, BENIGN).unlink()
    assert len({both, stray, of(root)}) == 3


def test_fingerprint_ignores_modification_times(breakhis: Callable[..., Path], of: Fingerprint) -> None:
    root = breakhis(BENIGN)
    before = of(root)
    age(root, seconds=1000)
    assert of(root) == before


def test_fingerprint_of_an_archive_changes_with_its_content(tmp_path: Path, of: Fingerprint) -> None:
    archive = tmp_path / "data.zip"
    found = set()
    for content in ("1", "2"):
        with zipfile.ZipFile(archive, "w") as written:
            written.writestr(f"benign/SOB/adenosis/SOB_B_A_14-22549AB/40X/{BENIGN}", content)
        found.add(of(archive))
    assert len(found) == 2


def test_fingerprint_of_a_manifest_changes_with_a_label(tmp_path: Path, of: Fingerprint) -> None:
    (tmp_path / "a.png").touch()
    found = set()
    for label in ("benign", "malignant"):
        (tmp_path / "m.csv").write_text(f"path,label,group\na.png,{label},1\n", encoding="utf-8")
        found.add(of(tmp_path / "m.csv"))
    assert len(found) == 2


def test_fingerprint_reads_settled_files_once(
    breakhis: Callable[..., Path], of: Fingerprint, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = breakhis(BENIGN, MALIGNANT)
    age(root, seconds=1000)
    before = of(root)
    opened: list[str] = []
    original = Path.open

    def noting(path: Path, *arguments: object, **named: object) -> object:
        opened.append(path.name)
        return original(path, *arguments, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", noting)
    assert of(root) == before
    assert not {BENIGN, MALIGNANT} & set(opened)
    age(place(root, BENIGN).parent, seconds=1000)
    assert of(root) == before
    assert BENIGN in opened and MALIGNANT not in opened


def test_fingerprint_reads_recent_files_again(breakhis: Callable[..., Path], of: Fingerprint) -> None:
    path = place(breakhis(BENIGN, MALIGNANT), BENIGN)
    status = path.stat()
    before = of(path.parents[5])
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as if both fell into one tick of the clock
    assert of(path.parents[5]) != before


def test_fingerprint_ignores_a_damaged_cache(
    breakhis: Callable[..., Path], of: Fingerprint, tmp_path: Path
) -> None:
    root = breakhis(BENIGN)
    before = of(root)
    (tmp_path / "out" / "cache.json").write_text('{"a', encoding="utf-8")
    assert of(root) == before


def test_fingerprint_reads_the_files_of_another_folder(
    breakhis: Callable[..., Path], of: Fingerprint, picture: Callable[..., bytes], tmp_path: Path
) -> None:
    root = breakhis(BENIGN, MALIGNANT)
    age(root, seconds=1000)
    before = of(root)
    other = Path(shutil.copytree(root, tmp_path / "other"))
    place(other, BENIGN).write_bytes(place(root, BENIGN).read_bytes()[::-1])
    shutil.copystat(place(root, BENIGN), place(other, BENIGN))
    assert of(other) != before and of(root) == before


@pytest.mark.parametrize("changes", [1, 12])
def test_check_unchanged_names_ten_files_of_those_that_changed(
    breakhis: Callable[..., Path], tmp_path: Path, changes: int
) -> None:
    root = breakhis(*(f"SOB_B_A-14-22549AB-40-{number:03}.png" for number in range(30)))
    age(root, seconds=1000)
    catalog, cache = read_catalog(root), tmp_path / "cache.json"
    expected = fingerprint(catalog, cache=cache)
    module.check_unchanged(catalog, expected, digests=(), cache=cache)
    images = [place(root, Path(image.path).name) for image in catalog.images]
    images[0].unlink()
    for path in images[1:changes]:
        path.write_bytes(b"")
    added = images[5].with_name("SOB_B_A-14-22549AB-40-100.png")
    added.touch()
    with pytest.raises(UserError) as caught:
        module.check_unchanged(read_catalog(root), expected, digests=(), cache=cache)
    listed = [
        f"{images[0]} (removed)",
        *(f"{path} (changed)" for path in images[1:changes]),
        f"{added} (new)",
    ]
    more = f" and {len(listed) - 10} more" if changes > 9 else ""
    assert f"while they were read: {', '.join(listed[:10])}{more}; run again" in str(caught.value)
    assert not cache.exists()


def test_fingerprint_accepts_an_unreadable_file(breakhis: Callable[..., Path], of: Fingerprint) -> None:
    root = breakhis(BENIGN, MALIGNANT)
    path = place(root, BENIGN)
    path.unlink()
    path.symlink_to("nowhere")
    assert len(of(root)) == 64


def test_fingerprint_reports_progress(breakhis: Callable[..., Path], tmp_path: Path) -> None:
    told: list[str] = []
    catalog = read_catalog(breakhis(BENIGN, MALIGNANT))
    module.fingerprint(catalog, cache=tmp_path / "cache.json", progress=told.append)
    assert told == ["fingerprint: 0 of 2 files"]
