"""Other images than BreaKHis in the whole pipeline, by a configuration and a manifest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_metadata as mlmd
import pytest
import yaml
from ml_metadata.proto import metadata_store_pb2

pytestmark = pytest.mark.e2e

_EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "ucsb"


@pytest.fixture(scope="module")
def finished(
    make_knet: Callable[..., Any], shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """A run of the example with class names other than the default ones."""
    folder = tmp_path_factory.mktemp("ucsb")
    manifest = (_EXAMPLE / "manifest.csv").read_text("utf-8")
    renamed = manifest.replace(",benign,", ",harmless,").replace(",malignant,", ",cancer,")
    (folder / "manifest.csv").write_text(renamed, encoding="utf-8")
    config = yaml.safe_load((_EXAMPLE / "config.yaml").read_text("utf-8"))
    config["data"] |= {
        "source": str(folder / "manifest.csv"),
        "root": str(shared_data / "ood" / "ucsb_breast_cancer_cell"),
        "classes": ["harmless", "cancer"],
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    knet = make_knet(settings=("image.size=32", "training.epochs=1"), config=folder / "config.yaml")
    return knet.run()


def test_other_images_complete_every_node_and_push(finished: Any) -> None:
    assert finished.code == 0, finished.stdout + finished.stderr
    assert set(finished.states().values()) == {"done"}
    assert "served version: " in finished.stdout
    assert "no gate: gate.minimum is empty" in finished.stdout
    assert "8 images ingested (train 4, validation 2, test 2), 0 quarantined" in finished.stdout


def test_other_images_served_model_has_configured_classes(finished: Any) -> None:
    (line,) = [line for line in finished.stdout.splitlines() if line.startswith("classified ")]
    assert "(cancer " in line and ("_ccd.tif: harmless" in line or "_ccd.tif: cancer" in line)
    (info,) = finished.output.glob("serving/knet/*/assets.extra/knet.json")
    assert json.loads(info.read_text("utf-8"))["classes"] == ["harmless", "cancer"]


def test_other_images_are_the_first_span(finished: Any) -> None:
    assert ", span 1)" in finished.stdout
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(finished.output / "metadata.sqlite")
    examples = mlmd.MetadataStore(connection).get_artifacts_by_type("Examples")
    assert 1 in [artifact.properties["span"].int_value for artifact in examples]


def test_other_images_open_no_outside_connection(finished: Any) -> None:
    assert finished.connections == []
