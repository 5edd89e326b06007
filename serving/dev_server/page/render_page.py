"""Makes the web page of the development server, one file that loads nothing but answers of its server."""

from __future__ import annotations

import jinja2


def render_page(*, model: str) -> str:
    """The page's HTML, with styles and program in it.

    It asks the server by TF Serving's REST API, and for `card`, the JSON file in the newest version's
    `assets.extra`, which it can do without.

    Args:
        model: the served name.
    """
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader("serving.dev_server.page"), jinja2.PackageLoader("pipeline.report")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("index.html").render(model=model)
