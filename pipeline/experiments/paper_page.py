"""The page of the paper's comparison: its figures drawn anew, with the paper's numbers beside ours."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from pipeline.experiments import paper_numbers
from pipeline.experiments.draw_accuracies import draw_accuracies
from pipeline.experiments.draw_curves import draw_curves
from pipeline.experiments.schedules import EARLY_STOPPING


def write_paper_page(folder: Path, results: dict[str, Any]) -> Path:
    """Writes `paper.html`, which opens without a network, and `paper.json`; returns the page's path.

    Args:
        folder: where.
        results: as `run_paper` returns them.
    """
    runs, titles = results["runs"], {one["name"]: one["title"] for one in results["schedules"]}
    lengths = [one["name"] for one in results["schedules"] if not one["deep"]]
    depths = [EARLY_STOPPING, *(one["name"] for one in results["schedules"] if one["deep"])]
    models = list(runs[EARLY_STOPPING])
    curves = {
        model: _svg(draw_curves(model, {titles[name]: runs[name][model]["epochs"] for name in lengths}))
        for model in models
    }
    bars = draw_accuracies(
        {
            titles[name]: {model: runs[name][model]["metrics"]["accuracy"] for model in models}
            for name in lengths
        },
        paper=paper_numbers.ACCURACY,
        majority=runs[EARLY_STOPPING][models[0]]["majority_share"],
    )
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["interval"] = _interval
    template = environment.from_string(
        (resources.files("pipeline.experiments") / "paper.html").read_text(encoding="utf-8")
    )
    page = folder / "paper.html"
    text = template.render(
        **results,
        titles={**titles, EARLY_STOPPING: titles[EARLY_STOPPING]},
        lengths=lengths,
        depths=depths,
        models=models,
        stopped=EARLY_STOPPING,
        paper=paper_numbers,
        curves=curves,
        bars=_svg(bars),
    )
    folder.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8")
    page.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return page


def _svg(figure: Figure) -> Markup:
    stream = io.StringIO()
    figure.savefig(stream, format="svg")
    text = stream.getvalue()
    return Markup(text[text.index("<svg") :])  # without the XML prologue, which HTML has no place for


def _interval(estimate: Sequence[float]) -> str:
    value, low, high = estimate
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"
