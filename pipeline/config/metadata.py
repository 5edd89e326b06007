"""The MLMD database in which runs on this machine are noted."""

from __future__ import annotations

from pydantic import Field

from pipeline.config.section import Section


class MetadataConfig(Section):
    """A database of a MySQL or MariaDB server, which runs may share, several at once."""

    host: str = Field(min_length=1)
    port: int = Field(3306, ge=1, le=65535)
    database: str = Field("knet", pattern=r"^[A-Za-z0-9_]{1,64}$")  # it must be there; MLMD makes the tables
    user: str = Field("knet", min_length=1)
    # the environment variable that holds the password, which is never written anywhere
    password_variable: str = Field("KNET_METADATA_PASSWORD", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
