"""How templates become pages."""

from __future__ import annotations

import jinja2

from pipeline.report import formats


def environment(*packages: str) -> jinja2.Environment:
    """Finds templates in the `templates` of some packages, and of the report; the filters are `formats`."""
    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [*map(jinja2.PackageLoader, packages), jinja2.PackageLoader("pipeline.report")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "figure": formats.figure,
        "duration": formats.duration,
        "size": formats.size,
        "estimate": formats.estimate,
    }
    return made
