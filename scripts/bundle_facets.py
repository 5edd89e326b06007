"""Takes facets' overview out of a package that carries it, for pages that must open without a network.

TFDV itself ships none: its page names scripts on two servers. tensorboard-plugin-wit 1.8.1 (Google, Apache
2.0) holds the element compiled with all it needs. It cannot be a dependency: it adds a plugin to TensorBoard,
which then does not start where setuptools is too new to have pkg_resources. `make facets` runs this.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from importlib import metadata
from pathlib import Path

_TARGET = Path(__file__).resolve().parents[1] / "knet" / "report" / "templates" / "facets.html.gz"
_SOURCES = {
    "wit_tb_bin.html": "c6c513c727af303c1595162d7cb03437bdb12dc6a280c92cdfa1cf4a23dd52c3",
    "wit_tb_bin.js": "36fe8c9262bd9bffac3a2157a9cb0f68b1fae6a6b24ee97a4bb447028d6e9709",
}
# The page's own style and its body, which is the What-If Tool.
_BODY = "<style>\n  html,\n  body {"
# The bundle forbids elements without a template, and then meets this one of its own.
_MISSING = '<dom-module id="facets-overview-filter-validator"><template></template></dom-module>'


def main() -> None:
    """Writes knet/report/templates/facets.html.gz."""
    html, script = (_source(name) for name in _SOURCES)
    elements, body, _ = html.removeprefix("<!doctype html>").rpartition(_BODY)
    if not body:
        raise SystemExit("the package's page is laid out otherwise")
    elements = re.sub(r"@font-face \{[^}]*\}", "", elements)  # they would be looked for on a server
    escaped = script.replace("</script", r"<\/script")
    bundle = f"{elements}{_MISSING}\n<script>\n{escaped}\n</script>\n"
    _TARGET.write_bytes(gzip.compress(bundle.encode("utf-8"), 9, mtime=0))


def _source(name: str) -> str:
    files = metadata.files("tensorboard-plugin-wit") or []
    content = next(file for file in files if file.name == name).read_binary()
    if hashlib.sha256(content).hexdigest() != _SOURCES[name]:
        raise SystemExit(f"{name} is not the one that was looked at")
    return content.decode("utf-8")


if __name__ == "__main__":
    main()
