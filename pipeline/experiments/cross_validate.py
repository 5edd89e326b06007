"""Trains every arm on every fold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from pipeline.candidate import Candidate
from pipeline.config import BackboneName, load_config
from pipeline.digest import code_digest, file_digest, text_digest
from pipeline.experiments.arms import SETTINGS, Arm
from pipeline.experiments.fold_splits import FoldSplits, fold_splits
from pipeline.experiments.linear_probe import probe_arm
from pipeline.experiments.outcome import Outcome, read_outcome
from pipeline.experiments.train_arm import train_arm
from pipeline.preflight import check_weights, fetch_weights
from pipeline.run_record import Data
from pipeline.runners.screen import NodeDisplay
from pipeline.workspace import Workspace

_BACKBONE: BackboneName = "mobilenet"


@dataclass(frozen=True)
class TestedFold:
    """One fold: its test images, in their order, and what every arm says of them."""

    paths: tuple[str, ...]
    labels: tuple[int, ...]
    outcomes: dict[str, Outcome]  # by arm


def cross_validate(
    arms: Sequence[Arm], overrides: Sequence[str], *, console: Console
) -> tuple[Data, list[TestedFold]]:
    """Ingests and transforms the images of each fold by the graph, and trains every arm on them.

    What was trained before on the same data with the same settings and code is not trained again.

    Args:
        arms: that are compared.
        overrides: of `results.yaml`, for all arms.
        console: shows every step.

    Raises:
        UserError: data or weights are not usable.
    """
    settings = load_config(SETTINGS, overrides)
    folds = range(settings.data.split.folds or 0)
    check_weights(settings)
    fetch_weights(settings)
    splits: dict[tuple[int, int], FoldSplits] = {}
    outcomes: dict[int, dict[str, Outcome]] = {fold: {} for fold in folds}
    for arm in arms:
        configs = {
            fold: load_config(SETTINGS, [*overrides, *arm.overrides, f"data.split.fold={fold}"])
            for fold in folds
        }
        for fold, config in configs.items():
            if (fold, config.image.size) not in splits:
                console.print(f"images of fold {fold + 1} of {len(folds)} at {config.image.size} px")
                data, splits[fold, config.image.size] = fold_splits(config, console=console)
        with NodeDisplay(console, [_title(arm, fold) for fold in folds]) as display:
            for fold, config in configs.items():
                candidate = Candidate.of(config, _BACKBONE, synthetic_data=data.synthetic)
                display.started(_title(arm, fold))
                outcomes[fold][arm.name], state = _outcome(
                    arm, candidate, splits[fold, config.image.size], Workspace(config.output), fold=fold
                )
                display.ended(_title(arm, fold), state)
    return data, [_tested(splits[fold, settings.image.size], outcomes[fold]) for fold in folds]


def _title(arm: Arm, fold: int) -> str:
    return f"{arm.name}, fold {fold + 1}"


def _outcome(
    arm: Arm, candidate: Candidate, splits: FoldSplits, workspace: Workspace, *, fold: int
) -> tuple[Outcome, str]:
    """Trains an arm on a fold, unless that was done before; and says which."""
    weights = candidate.settings.weights_file
    key = text_digest(
        candidate.model_dump_json(),
        file_digest(weights) if weights else candidate.settings.weights,
        json.dumps(arm.learning_rates),
        *(split.digest for split in (splits.train, splits.validation, splits.test)),
        code_digest("pipeline.experiments.train_arm"),
        code_digest("pipeline.experiments.linear_probe"),
    )
    file = workspace.root / "outcomes" / f"{arm.name}-fold-{fold + 1}-{key[:16]}.json"
    if file.is_file():
        return read_outcome(file), "cached"
    if arm.learning_rates:
        outcome = train_arm(
            candidate, splits, learning_rates=arm.learning_rates, cache_root=workspace.feature_maps
        )
    else:
        outcome = probe_arm(candidate, splits, cache_root=workspace.feature_maps)
    outcome.write(file)
    return outcome, "done"


def _tested(splits: FoldSplits, outcomes: dict[str, Outcome]) -> TestedFold:
    labels = [label for _, batch in splits.test.batches(batch_size=32) for label in batch.numpy().tolist()]
    return TestedFold(tuple(splits.test.paths()), tuple(labels), outcomes)
