"""Zip, tar and gzipped tar archives as sources."""

from __future__ import annotations

import io
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from knet.base.errors import UnusableError, UserError
from knet.data.archives import TarGzArchive
from knet.data.catalog import open_source
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
    assert source.find(["a.png", "none.png"]) == {"a.png": 5}
    assert list(source.parts(["a.png"])) == [kind]


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
