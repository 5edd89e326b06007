"""Makes the web page of the development server, one file that loads nothing but answers of its server."""

from __future__ import annotations

from pipeline.report.environment import environment


def render_page(*, model: str) -> str:
    """The page's HTML, with styles and program in it.

    It asks the server by TF Serving's REST API, and for `card`, the JSON file in the newest version's
    `assets.extra`, which it can do without.

    Args:
        model: the served name.
    """
    return environment("serving.dev_server.page").get_template("index.html").render(model=model)
