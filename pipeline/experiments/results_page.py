"""The page of a cross-validation, in Markdown, with its figures as JSON beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from pipeline.experiments.summarise import METRICS, spread


def write_results_page(file: Path, results: dict[str, Any]) -> None:
    """Writes the page, and `results` beside it under the same name with `.json`.

    Args:
        file: a name that ends in `.md`.
        results: as `run_results` collects them.
    """
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.filters |= {"interval": _interval, "verdict": _verdict, "choice": _choice, "spread": _spread}
    template = environment.from_string(
        (resources.files("pipeline.experiments") / "results.md.jinja").read_text(encoding="utf-8")
    )
    figures = file.with_suffix(".json")
    page = template.render(**results, metrics=METRICS, json_name=figures.name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page.rstrip() + "\n", encoding="utf-8")
    figures.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _interval(estimate: Sequence[float], *, sign: bool = False) -> str:
    value, low, high = (f"{number:+.3f}" if sign else f"{number:.3f}" for number in estimate)
    return f"{value} [{low}, {high}]"


def _verdict(difference: Sequence[float]) -> str:
    _, low, high = difference
    return "better" if low > 0 else "worse" if high < 0 else "not told apart"


def _choice(fold: dict[str, float]) -> str:
    return f"C {fold['C']:g}" if "C" in fold else f"{fold['learning_rate']:g}, epoch {fold['best_epoch']:.0f}"


def _spread(folds: Sequence[dict[str, float]]) -> str:
    mean, deviation = spread([fold["balanced_accuracy"] for fold in folds])
    return f"{mean:.3f} ± {deviation:.3f}"
