"""Stores of files in folders and object stores."""

from __future__ import annotations

import tarfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from knet.base import buckets
from knet.base.errors import UnusableError, UserError
from knet.base.storage import (
    FolderStore,
    ObjectStore,
    Store,
    download,
    local_copy,
    object_uri,
    open_store,
    upload,
)
from knet.data.catalog import read_catalog
from knet.data.fingerprint import fingerprint
from knet.runs.record import RunRecord
from knet.runs.registry import RunRegistry

pytestmark = pytest.mark.slow


def test_folder_store_reads_and_lists_files(tmp_path: Path) -> None:
    store = open_store(tmp_path / "new")
    assert isinstance(store, FolderStore)
    assert store.read("runs/a.json") is None and store.names("runs/") == []
    for name in ("runs/b.json", "runs/a.json", "other.json"):
        store.write(name, name.encode())
    assert store.names("runs/") == ["runs/a.json", "runs/b.json"]
    assert store.read("runs/a.json") == b"runs/a.json" == store.location("runs/a.json").read_bytes()


def test_folder_store_removes_files(tmp_path: Path) -> None:
    _check_stats_and_removal(FolderStore(tmp_path / "new"))


def _check_stats_and_removal(store: Store) -> None:
    before = int(time.time())
    assert store.stats("") == {}
    store.remove("none")
    for name in ("a/one", "a/two", "b"):
        store.write(name, name.encode())
    stats = store.stats("")
    assert {name: stat.size for name, stat in stats.items()} == {"a/one": 5, "a/two": 5, "b": 1}
    assert all(before <= stat.used <= time.time() + 1 for stat in stats.values())
    store.remove("a/one")
    assert list(store.stats("a/")) == ["a/two"]


def test_folder_store_concurrent_writes_are_atomic(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    contents = [bytes([number]) * 200_000 for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: store.write("file", content), contents))
    assert store.read("file") in contents
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


_NAMES = ("SOB_B_A-14-22549AB-40-001.png", "SOB_M_DC-14-2523-40-001.png")


def test_object_store_reads_and_lists_objects(s3: str) -> None:
    store = open_store(f"{s3}/listed")
    assert isinstance(store, ObjectStore)
    assert store.read("runs/a.json") is None and store.names("runs/") == []
    for name in ("runs/b.json", "runs/a.json.gz", "other.json"):
        store.write(name, name.encode())
    assert store.names("runs/") == ["runs/a.json.gz", "runs/b.json"]
    assert store.read("runs/a.json.gz") == b"runs/a.json.gz"
    store.write("runs/b.json", b"again")
    assert store.read("runs/b.json") == b"again"
    assert store.read("runs/b.json", at_most=2) == b"ag"
    store.write("runs/empty", b"")
    assert store.read("runs/empty") == b""


def test_object_store_removes_objects(s3: str) -> None:
    _check_stats_and_removal(ObjectStore(f"{s3}/removed"))


def test_upload_and_download_folder(s3: str, tmp_path: Path) -> None:
    (tmp_path / "there" / "Split-train").mkdir(parents=True)
    (tmp_path / "there" / "Split-train" / "data.gz").write_bytes(b"\x1f\x8b")
    upload(tmp_path / "there", f"{s3}/folder")
    assert download(f"{s3}/folder", tmp_path / "back")
    assert (tmp_path / "back" / "Split-train" / "data.gz").read_bytes() == b"\x1f\x8b"
    with local_copy(f"{s3}/folder") as copy:
        assert (copy / "Split-train" / "data.gz").is_file()
    assert not copy.exists()
    with (
        pytest.raises(UserError, match="s3://knet/nothing: there is no such object"),
        local_copy(f"{s3}/nothing"),
    ):
        pass


@pytest.mark.parametrize("content", [b"", b"a"])
def test_object_store_error_names_the_object(
    s3: str, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(UserError, match="s3://knet/listed/a: the object store cannot be used"):
        ObjectStore(f"{s3}/listed").write("a", content)


def test_registry_in_object_store(s3: str, tmp_path: Path, make_record: Callable[..., RunRecord]) -> None:
    registry = RunRegistry(f"{s3}/registry")
    predictions = tmp_path / "mobilenet.parquet"
    predictions.write_bytes(b"predictions")
    (tmp_path / "statistics" / "Split-train").mkdir(parents=True)
    (tmp_path / "statistics" / "Split-train" / "FeatureStats.pb").write_bytes(b"statistics")
    registry.record(make_record(), graph="first", predictions=predictions)
    registry.store_statistics(tmp_path / "statistics", run_id="a", schema=Path("/app/schema.pbtxt"))

    later = RunRegistry(f"{s3}/registry")
    assert list(later.runs()) == ["20240131-120000"]
    assert later.baseline("first") is None
    baseline, statistics = later.baseline("second"), later.previous_statistics()
    assert baseline and statistics and (later.span("x"), later.span("y"), later.span("x")) == (1, 2, 1)
    with local_copy(str(baseline.file)) as file, local_copy(str(statistics.folder)) as folder:
        assert file.read_bytes() == b"predictions"
        assert (folder / "Split-train" / "FeatureStats.pb").read_bytes() == b"statistics"


def test_catalog_in_object_store(
    s3: str, tmp_path: Path, breakhis: Callable[..., Path], picture: Callable[..., bytes]
) -> None:
    location = Path(f"{s3}/images/BreaKHis_v1")
    upload(breakhis(*_NAMES), f"{s3}/images/BreaKHis_v1")
    catalog = read_catalog(location)
    assert [image.path.rpartition("/")[2] for image in catalog.images] == list(_NAMES)
    before = fingerprint(catalog, cache=tmp_path / "cache.json")
    assert fingerprint(read_catalog(location), cache=tmp_path / "cache.json") == before
    with catalog.source.random_access(tmp_path) as source, source.open() as reader:
        assert reader.read(catalog.images[0].path) == picture()
        with pytest.raises(UnusableError, match="no longer there"):
            reader.read("benign/SOB/gone.png")
    other = breakhis(_NAMES[0], content=picture(colour=255))
    upload(other, f"{s3}/images/BreaKHis_v1")
    assert fingerprint(read_catalog(location), cache=tmp_path / "cache.json") != before


def test_catalog_in_object_store_is_listed_once(
    s3: str, tmp_path: Path, breakhis: Callable[..., Path]
) -> None:
    upload(breakhis(*_NAMES), f"{s3}/once/BreaKHis_v1")
    requests: list[str] = []
    client = buckets.open_bucket("s3", "knet").client  # type: ignore[attr-defined]
    client.meta.events.register("before-call.s3", lambda model, **_: requests.append(model.name))
    catalog = read_catalog(Path(f"{s3}/once/BreaKHis_v1"))
    assert requests == ["ListObjectsV2"]
    fingerprint(catalog, cache=tmp_path / "cache.json")
    assert requests == ["ListObjectsV2"] * 2
    with catalog.source.random_access(tmp_path) as source, source.open() as reader:
        for image in catalog.images:
            reader.read(image.path)
    assert requests == ["ListObjectsV2"] * 2 + ["GetObject"] * 2


@pytest.mark.parametrize("kind", ["data.zip", "data.tar", "data.tar.gz"])
def test_archive_in_object_store_is_read_like_one_on_disk(
    s3: str, tmp_path: Path, breakhis: Callable[..., Path], picture: Callable[..., bytes], kind: str
) -> None:
    root = breakhis(*_NAMES)
    if kind == "data.zip":
        with zipfile.ZipFile(tmp_path / kind, "w") as archive:
            for path in root.rglob("*.png"):
                archive.write(path, path.relative_to(root.parent))
    else:
        with tarfile.open(tmp_path / kind, "w:gz" if kind.endswith("gz") else "w") as tar:
            tar.add(root, root.name)
    upload(tmp_path / kind, f"{s3}/archives/{kind}")
    there, here = read_catalog(Path(f"{s3}/archives/{kind}")), read_catalog(tmp_path / kind)
    assert there.images == here.images and there.sizes == here.sizes
    (tmp_path / "work").mkdir()
    with there.source.random_access(tmp_path / "work") as source, source.open() as reader:
        assert reader.read(there.images[0].path) == picture()
    assert list((tmp_path / "work").iterdir()) == []
    before = fingerprint(there, cache=tmp_path / "cache.json")
    upload(tmp_path / kind, f"{s3}/archives/{kind}")
    assert fingerprint(there, cache=tmp_path / "cache.json") == before


def test_damaged_archive_in_object_store_is_named(s3: str) -> None:
    ObjectStore(f"{s3}/damaged").write("data.zip", b"PK")
    with pytest.raises(UserError, match=r"^s3://knet/damaged/data\.zip cannot be read as an archive"):
        read_catalog(Path(f"{s3}/damaged/data.zip"))
    with pytest.raises(UserError, match=r"no such data folder or archive: s3://knet/damaged/none\.zip"):
        read_catalog(Path(f"{s3}/damaged/none.zip"))


def test_manifest_in_object_store_names_objects_beside_it(
    s3: str, tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    store = ObjectStore(f"{s3}/manifests")
    store.write("x/b.png", picture())
    store.write("a.png", picture())
    rows = "x/b.png,malignant,2\na.png,benign,1\n"
    store.write("data.csv", f"path,label,group\n{rows}".encode())
    location = Path(f"{s3}/manifests/data.csv")
    catalog = read_catalog(location)
    assert [image.path for image in catalog.images] == ["a.png", "x/b.png"]
    assert list(catalog.sizes) == [(name, len(picture())) for name in ("a.png", "x/b.png")]
    before = fingerprint(catalog, cache=tmp_path / "cache.json")
    store.write("data.csv", f"path,label,group\n{rows}none.png,benign,1\n".encode())
    assert fingerprint(catalog, cache=tmp_path / "cache.json") != before
    with pytest.raises(UserError, match="lacks 1 file of s3://knet/manifests/data.csv") as caught:
        read_catalog(location)
    assert "line 4: none.png" in str(caught.value)


@pytest.mark.parametrize("uri", ["s3://bucket/folder/a.json", "gs://bucket"])
def test_object_uri_restores_slashes_of_path(uri: str) -> None:
    assert object_uri(uri) == object_uri(Path(uri)) == object_uri(f"{uri}/") == uri


@pytest.mark.parametrize("path", ["/data", "data", "s3", "/s3://bucket", "./s3:/bucket", "minio://bucket/a"])
def test_object_uri_of_path_is_none(path: str) -> None:
    assert object_uri(path) is None


def test_local_copy_of_path_is_the_path(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.touch()
    with local_copy(file) as copy:
        assert copy == file
    assert file.is_file()
