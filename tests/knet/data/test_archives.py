"""Zip, tar and gzipped tar archives as sources."""

from __future__ import annotations

import io
import pickle
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from knet.base.errors import UnusableError, UserError
from knet.data.archives import TarGzArchive
from knet.data.catalog import open_source, read_catalog
from knet.data.source import RandomAccessSource

KINDS = ["data.zip", "data.tar", "data.tar.gz", "data.tgz", "DATA.ZIP"]
Pack = Callable[..., Path]


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """Makes an archive of a kind with members of these names; their content is their name."""

    def make(kind: str, *names: str) -> Path:
        path = tmp_path / kind
        if kind.lower().endswith(".zip"):
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                for name in names:
                    archive.writestr(name, name)
            return path
        with tarfile.open(path, "w" if kind.endswith(".tar") else "w:gz") as tar:
            for name in names:
                member = tarfile.TarInfo(name)
                member.size = len(name)
                tar.addfile(member, io.BytesIO(name.encode()))
        return path

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_archive_lists_files_with_sizes(pack: Pack, kind: str) -> None:
    source = open_source(pack(kind, "b/c.png", "a.png"))
    assert list(source.files().items()) == [("a.png", 5), ("b/c.png", 7)]
    assert dict(source.find(["a.png", "none.png"])) == {"a.png": 5}
    assert list(source.parts(["a.png"])) == [(kind, source.location)]


@pytest.mark.parametrize("kind", KINDS)
def test_archive_can_be_read_in_another_process(pack: Pack, kind: str, tmp_path: Path) -> None:
    source = open_source(pack(kind, "x/a.png", "x/b.png", "x/c.png", "y.png")).below("x/")
    with source.random_access(tmp_path) as readable:
        readable = pickle.loads(pickle.dumps(readable))
        with readable.open() as reader:
            assert [reader.read(f"{letter}.png") for letter in "cab"] == [b"x/c.png", b"x/a.png", b"x/b.png"]
    assert list(source.files()) == ["a.png", "b.png", "c.png"]


def test_tar_gz_archive_removes_its_copy(pack: Pack, tmp_path: Path) -> None:
    with open_source(pack("data.tar.gz", "a.png")).random_access(tmp_path) as source:
        assert source.location.is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["data.tar.gz"]


def test_tar_gz_archive_removes_its_copy_after_a_failure(pack: Pack, tmp_path: Path) -> None:
    source = open_source(pack("data.tar.gz", "a.png"))
    with pytest.raises(RuntimeError), source.random_access(tmp_path):
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["data.tar.gz"]


def test_tar_gz_archive_checks_free_space(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = pack("data.tar.gz", "a.png")
    usage = shutil.disk_usage(tmp_path)._replace(free=2 * archive.stat().st_size - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match="needs .* with the examples, but .* left: free some space"):
        open_source(archive).random_access(tmp_path).__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["data.tar.gz"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["../a.png", "b/../../a.png", "/a.png", "b\\..\\..\\a.png"])
def test_archive_refuses_a_name_that_leads_out(pack: Pack, kind: str, name: str) -> None:
    with pytest.raises(UserError, match="a name that leads out of it"):
        open_source(pack(kind, name)).files()


@pytest.mark.parametrize("kind", ["data.tar", "data.zip"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archive_refuses_a_duplicate_name(pack: Pack, kind: str) -> None:
    with pytest.raises(UserError, match=r"holds a\.png twice"):
        open_source(pack(kind, "a.png", "a.png")).files()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content", [b"", b"not an archive" * 100])
def test_archive_of_another_file_is_refused(tmp_path: Path, kind: str, content: bytes) -> None:
    (tmp_path / kind).write_bytes(content)
    with pytest.raises(UserError, match=f"{kind} cannot be read as an archive"):
        open_source(tmp_path / kind).files()


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_archive_is_refused(pack: Pack, kind: str) -> None:
    archive = pack(kind, "a.png", "b" * 90)
    content = archive.read_bytes()
    # A tar archive is padded with zeros; this cuts into its second member.
    archive.write_bytes(
        content[: content.rindex(b"b" * 90) + 10 if kind == "data.tar" else len(content) // 2]
    )
    with pytest.raises(UserError, match=f"{kind} cannot be read as an archive"):
        open_source(archive).files()


def test_truncated_tar_gz_archive_is_not_unpacked(pack: Pack, tmp_path: Path) -> None:
    archive = pack("data.tar.gz", "a.png")
    archive.write_bytes(archive.read_bytes()[:-9])
    source = open_source(archive)
    assert isinstance(source, TarGzArchive)
    with pytest.raises(UserError, match="cannot be read as an archive"), source.random_access(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["data.tar.gz"]


def test_archive_with_a_damaged_member_is_unusable(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("a.png", b"content")
    raw = (tmp_path / "data.zip").read_bytes()
    (tmp_path / "data.zip").write_bytes(raw.replace(b"content", b"contend"))
    source = open_source(tmp_path / "data.zip")
    assert isinstance(source, RandomAccessSource)
    with source.open() as reader, pytest.raises(UnusableError, match="cannot be read from the archive"):
        reader.read("a.png")


def test_tar_archive_lists_a_link_as_unusable(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "data.tar", "w") as archive:
        member = tarfile.TarInfo("a.png")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    source = open_source(tmp_path / "data.tar")
    assert isinstance(source, RandomAccessSource)
    assert source.files() == {"a.png": 0}
    with source.open() as reader, pytest.raises(UnusableError, match="a link or another special file"):
        reader.read("a.png")


WINDOWS, UNIX = 0, 3  # systems that a zip archive states


class RawName(zipfile.ZipInfo):
    """A member of a zip archive, whose name is written in these bytes and not flagged as UTF-8."""

    def __init__(self, raw: bytes, *, system: int, extra: bytes = b"") -> None:
        super().__init__("name")
        self.raw, self.create_system, self.extra = raw, system, extra

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802 (of zipfile)
        return self.raw, 0


def zip_of(path: Path, *names: bytes, system: int = WINDOWS, extra: bytes = b"") -> RandomAccessSource:
    """A zip archive with members of these names; their content is their name, that of folders empty."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            content = b"" if name.endswith((b"\\", b"/")) else name
            archive.writestr(RawName(name, system=system, extra=extra), content)
    source = open_source(path)
    assert isinstance(source, RandomAccessSource)
    return source


def contents(source: RandomAccessSource) -> dict[str, bytes]:
    with source.open() as reader:
        return {name: reader.read(name) for name in source.files()}


@pytest.mark.parametrize("system", [WINDOWS, UNIX])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zip_archive_reads_backslashes_as_slashes(tmp_path: Path, system: int) -> None:
    names = (b"benign\\", b"benign\\SOB\\", b"benign\\SOB\\a.PNG", b"notes.txt", b"benign\\b.png")
    source = zip_of(tmp_path / "data.zip", *names, system=system)
    assert contents(source) == {
        "benign/SOB/a.PNG": b"benign\\SOB\\a.PNG",
        "benign/b.png": b"benign\\b.png",
        "notes.txt": b"notes.txt",
    }
    assert list(source.below("benign/").files()) == ["SOB/a.PNG", "b.png"]


@pytest.mark.parametrize("kind", ["data.tar", "data.tar.gz"])
def test_tar_archive_reads_backslashes_as_slashes(pack: Pack, tmp_path: Path, kind: str) -> None:
    source = open_source(pack(kind, "benign\\a.png", "b.png"))
    assert list(source.files()) == ["b.png", "benign/a.png"]
    with source.random_access(tmp_path) as readable:
        assert contents(readable)["benign/a.png"] == b"benign\\a.png"


def test_zip_archive_of_windows_reads_mixed_separators(tmp_path: Path) -> None:
    assert list(zip_of(tmp_path / "data.zip", b"a/b\\c.png").files()) == ["a/b/c.png"]


@pytest.mark.parametrize("kind", ["data.zip", "data.tar", "data.tar.gz"])
def test_archive_refuses_an_ambiguous_backslash(pack: Pack, kind: str) -> None:
    with pytest.raises(
        UserError, match=r"holds a/b.c\.png, whose backslash may separate folders or be part of"
    ):
        open_source(pack(kind, "a/b\\c.png")).files()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zip_archive_refuses_names_that_windows_calls_equal(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds a/b\.png twice"):
        zip_of(tmp_path / "data.zip", b"a\\b.png", b"a/b.png").files()


@pytest.mark.parametrize("system", [WINDOWS, UNIX])
@pytest.mark.parametrize(
    "name",
    [
        b"C:\\data\\a.png",
        b"c:/a.png",
        b"\\a.png",
        b"\\\\server\\share\\a.png",
        b"..\\a.png",
        b"a\\..\\..\\b.png",
    ],
)
def test_zip_archive_of_windows_refuses_a_name_that_leads_out(
    tmp_path: Path, name: bytes, system: int
) -> None:
    with pytest.raises(UserError, match="a name that leads out of it; create it again"):
        zip_of(tmp_path / "data.zip", name, system=system).files()


def unicode_path(name: str, raw: bytes) -> bytes:
    """The extra field of a name in UTF-8."""
    data = struct.pack("<BI", 1, zlib.crc32(raw)) + name.encode()
    return struct.pack("<HH", 0x7075, len(data)) + data


OTHER_FIELD = struct.pack("<HH4x", 0x5455, 4)


@pytest.mark.parametrize(
    ("raw", "extra", "name"),
    [
        ("Präparat/é.png".encode("cp437"), b"", "Präparat/é.png"),
        ("Präparat/é.png".encode(), b"", "Präparat/é.png"),  # of macOS
        ("切片.png".encode(), b"", "切片.png"),
        (
            "切片.png".encode("cp932"),
            OTHER_FIELD + unicode_path("切片.png", "切片.png".encode("cp932")),
            "切片.png",
        ),
        ("é.png".encode("cp437"), unicode_path("other.png", b"of another name"), "é.png"),
        ("é.png".encode("cp437"), OTHER_FIELD, "é.png"),
    ],
)
def test_zip_archive_reads_names_of_any_encoding(tmp_path: Path, raw: bytes, extra: bytes, name: str) -> None:
    assert contents(zip_of(tmp_path / "data.zip", raw, extra=extra)) == {name: raw}


def test_catalog_of_an_archive_of_windows_equals_that_of_its_folder(
    breakhis: Callable[..., Path], tmp_path: Path
) -> None:
    names = ("SOB_B_A-14-1-40-001.png", "SOB_M_DC-14-2-40-001.PNG", "SOB_B_F-14-3-400-001.png")
    root = breakhis(*names)
    (root / "Thumbs.db").write_bytes(b"thumbnails")
    (root / "a.png:Zone.Identifier").write_bytes(b"[ZoneTransfer]")
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for file in sorted(root.rglob("*")):
            name = str(file.relative_to(tmp_path)).replace("/", "\\")
            info = zipfile.ZipInfo(name + "\\" * file.is_dir())
            info.create_system = WINDOWS
            archive.writestr(info, b"" if file.is_dir() else file.read_bytes())
    packed, unpacked = read_catalog(tmp_path / "data.zip"), read_catalog(root)
    assert len(packed.images) == len(names)
    assert packed.images == unpacked.images and packed.sizes == unpacked.sizes
    assert not packed.ignored_files and not packed.quarantined
