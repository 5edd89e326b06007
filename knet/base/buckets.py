"""Buckets of S3 and Google Cloud Storage, through the clients of their makers; one client a process.

Beam's file systems make a client for each operation, and ask twice before they read.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ObjectStat:
    """An object as a listing describes it."""

    key: str
    size: int  # bytes
    modified: float  # seconds since the epoch
    checksum: str  # of the content: S3's ETag, or the CRC-32C of Google Cloud Storage


class Bucket(ABC):
    """Objects by key. Errors are those of the client."""

    @abstractmethod
    def read(self, key: str, *, at_most: int | None = None) -> bytes | None:
        """Return the content of an object, or None if there is none.

        Args:
            key: Key of the object.
            at_most: Bytes to read; the rest of a larger object is not downloaded. None: all.
        """

    @abstractmethod
    def download(self, key: str, path: Path) -> bool:
        """Download an object to a file; return whether there is one."""

    @abstractmethod
    def write(self, key: str, content: bytes) -> None:
        """Create or replace an object."""

    @abstractmethod
    def upload(self, path: Path, key: str) -> None:
        """Create or replace an object by a file."""

    @abstractmethod
    def listing(self, prefix: str) -> Iterator[ObjectStat]:
        """Yield every object whose key starts with a prefix; a thousand of them are one request."""

    @abstractmethod
    def checksum(self, key: str) -> str:
        """Return the checksum of an object."""

    @abstractmethod
    def remove(self, key: str) -> None:
        """Delete an object; one that does not exist is ignored."""


def open_bucket(scheme: str, name: str) -> Bucket:
    """Return a bucket.

    Args:
        scheme: `s3` or `gs`.
        name: Name of the bucket.
    """
    if scheme == "s3":
        return _S3Bucket(
            name, _s3_client(tuple(sorted(item for item in os.environ.items() if item[0][:4] == "AWS_")))
        )
    return _GoogleBucket(name, _google_client(os.environ.get("STORAGE_EMULATOR_HOST", "")))


@lru_cache(maxsize=1)
def _s3_client(environment: tuple[tuple[str, str], ...]) -> Any:
    """Return the client for S3, which reads the environment that the cache is keyed by."""
    import boto3

    return boto3.session.Session().client("s3")


@dataclass(frozen=True)
class _S3Bucket(Bucket):
    name: str
    client: Any

    def read(self, key: str, *, at_most: int | None = None) -> bytes | None:
        try:
            answer = self.client.get_object(Bucket=self.name, Key=key)
        except self.client.exceptions.NoSuchKey:
            return None
        with closing(answer["Body"]) as body:
            content: bytes = body.read(at_most)
            return content

    def download(self, key: str, path: Path) -> bool:
        from botocore.exceptions import ClientError

        try:
            self.client.download_file(self.name, key, str(path))
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                return False
            raise
        return True

    def write(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=content)

    def upload(self, path: Path, key: str) -> None:
        self.client.upload_file(str(path), self.name, key)

    def listing(self, prefix: str) -> Iterator[ObjectStat]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        for page in pages:
            for found in page.get("Contents", ()):
                modified = found["LastModified"].timestamp()
                yield ObjectStat(found["Key"], found["Size"], modified, found["ETag"])

    def checksum(self, key: str) -> str:
        return str(self.client.head_object(Bucket=self.name, Key=key)["ETag"])

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)


@lru_cache(maxsize=1)
def _google_client(emulator: str) -> Any:
    """Return the client for Google Cloud Storage, without credentials where there are none."""
    from google.auth.exceptions import DefaultCredentialsError
    from google.cloud import storage

    try:
        return storage.Client()
    except DefaultCredentialsError:
        return storage.Client.create_anonymous_client()


@dataclass(frozen=True)
class _GoogleBucket(Bucket):
    name: str
    client: Any

    def _blob(self, key: str) -> Any:
        return self.client.bucket(self.name).blob(key)

    def read(self, key: str, *, at_most: int | None = None) -> bytes | None:
        from google.api_core.exceptions import NotFound, RequestRangeNotSatisfiable

        end = None if at_most is None else at_most - 1
        try:
            # As it is stored: else an object with the encoding gzip is unpacked on its way.
            content: bytes = self._blob(key).download_as_bytes(end=end, raw_download=True)
        except NotFound:
            return None
        except RequestRangeNotSatisfiable:  # an empty object
            return b""
        return content

    def download(self, key: str, path: Path) -> bool:
        from google.api_core.exceptions import NotFound

        try:
            self._blob(key).download_to_filename(str(path), raw_download=True)
        except NotFound:
            path.unlink(missing_ok=True)
            return False
        return True

    def write(self, key: str, content: bytes) -> None:
        self._blob(key).upload_from_string(content, content_type="application/octet-stream")

    def upload(self, path: Path, key: str) -> None:
        self._blob(key).upload_from_filename(str(path), content_type="application/octet-stream")

    def listing(self, prefix: str) -> Iterator[ObjectStat]:
        for blob in self.client.list_blobs(self.name, prefix=prefix):
            yield ObjectStat(blob.name, blob.size, blob.updated.timestamp(), blob.crc32c)

    def checksum(self, key: str) -> str:
        blob = self._blob(key)
        blob.reload()
        return str(blob.crc32c)

    def remove(self, key: str) -> None:
        from google.api_core.exceptions import NotFound

        try:
            self._blob(key).delete()
        except NotFound:
            return
