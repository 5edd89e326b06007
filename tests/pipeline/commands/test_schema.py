"""`knet schema`: differences to the data of a run, and schemas written from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from command_line import Finished

import schemas
from knet.base import schema_names
from knet.data.schema_edits import read_schema
from knet.runs.registry import RunRegistry


@pytest.fixture
def finished_run(tmp_path: Path) -> Path:
    """Output folder of a run in which a tenth of the images was wider than the schema allows."""
    import tensorflow_data_validation as tfdv

    for split in schema_names.SPLITS:
        width = [700] * 9 + [8000 if split == "train" else 700]
        file = tmp_path / "counted" / f"Split-{split}" / "FeatureStats.pb"
        file.parent.mkdir(parents=True)
        file.write_bytes(
            tfdv.generate_statistics_from_dataframe(
                pd.DataFrame({schema_names.WIDTH: width})
            ).SerializeToString()
        )
    RunRegistry(tmp_path / "out" / "registry").store_statistics(
        tmp_path / "counted", run_id="a", schema=schemas.BREAKHIS
    )
    return tmp_path / "out"


def test_schema_diff_of_the_last_run_exits_with_1(knet: Callable[..., Finished], finished_run: Path) -> None:
    finished = knet("schema", "diff", "--set", f"output={finished_run}")
    assert (finished.code, finished.stderr) == (1, "")
    assert "feature image/width\n  int_domain.max: 4096 -> 8000\n" in finished.stdout


def test_schema_update_widens_the_schema_for_the_data(
    knet: Callable[..., Finished], finished_run: Path, tmp_path: Path
) -> None:
    target = tmp_path / "new" / "schema.pbtxt"
    finished = knet("schema", "update", "--output", target, "--set", f"output={finished_run}")
    assert finished.code == 0, finished.stderr
    assert finished.stdout == f"written: {target}; use it with --set data.schema_file={target}\n"
    assert "int_domain { min: 32 max: 8000" in target.read_text("utf-8")
    assert target.read_text("utf-8").startswith("# Schema of an ingested BreaKHis example.\n")


def test_schema_infer_replaces_a_file_only_with_force(
    knet: Callable[..., Finished], finished_run: Path, tmp_path: Path
) -> None:
    target = tmp_path / "schema.pbtxt"
    target.write_text("mine", encoding="utf-8")
    command = ("schema", "infer", "--output", target, "--set", f"output={finished_run}")
    assert knet(*command).code == 2
    assert target.read_text("utf-8") == "mine"
    assert knet(*command, "--force").code == 0
    assert [feature.name for feature in read_schema(target).feature] == [schema_names.WIDTH]
