"""The images of one fold, as the graph's own ExampleGen and Transform leave them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from pipeline.config import Config
from pipeline.dataset import TransformedSplit
from pipeline.preflight import prepare_data
from pipeline.run_record import Data
from pipeline.runners.local import run_down_to
from pipeline.schema.schema_file import schema_file
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class FoldSplits:
    """Three sets of images with no patient in common."""

    train: TransformedSplit
    validation: TransformedSplit
    test: TransformedSplit


def fold_splits(config: Config, *, console: Console) -> tuple[Data, FoldSplits]:
    """Runs the graph as far as Transform; a second time it is answered from the cache.

    Args:
        config: with the fold to test in `data.split`.
        console: shows each node.

    Raises:
        UserError: the data are not usable.
    """
    data = prepare_data(config)
    schema = schema_file(config, data, Workspace(config.output.resolve()))
    executions = run_down_to(["Transform"], config, data, schema=schema, console=console)
    folder = executions["Transform"].outputs["transformed_examples"].uri
    training = config.training

    def split(name: str, **copies: tuple[str, ...]) -> TransformedSplit:
        return TransformedSplit([str(Path(folder) / f"Split-{name}" / "*")], size=config.image.size, **copies)

    return data, FoldSplits(
        train=split("train", copies=training.augmentation), validation=split("validation"), test=split("test")
    )
