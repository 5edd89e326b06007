"""Settings of the ML Metadata (MLMD) database of local runs."""

from __future__ import annotations

from pydantic import Field

from pipeline.config.section import Section


class MetadataConfig(Section):
    """MLMD database on a MySQL or MariaDB server, for concurrent runs; null: a SQLite file below `output`."""

    host: str = Field(min_length=1, description="Host name or address of the server.")
    port: int = Field(3306, ge=1, le=65535, description="TCP port of the server.")
    database: str = Field(
        "knet",
        pattern=r"^[A-Za-z0-9_]{1,64}$",
        description="Name of the database, which must exist; MLMD creates the tables.",
    )
    user: str = Field("knet", min_length=1, description="User of the database.")
    password_variable: str = Field(
        "KNET_METADATA_PASSWORD",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Environment variable that holds the password, which is never written anywhere.",
    )
