"""The first node on Kubeflow: what the data are now, so that a schedule sees new images and no others."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from components.breakhis_example_gen.catalog import read_catalog
from components.breakhis_example_gen.fingerprint import fingerprint


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the fingerprint of a data set as an output parameter.

    Raises:
        UserError: the data set is wrong.
    """
    parser = argparse.ArgumentParser(prog="fingerprint_node", description=main.__doc__)
    parser.add_argument("--data_source", required=True, type=Path)
    parser.add_argument("--data_root", help="where a manifest's paths are, or nothing")
    parser.add_argument("--class", dest="classes", action="append", required=True)
    parser.add_argument("--keep_duplicate_slides", action="store_true")
    parser.add_argument("--output", required=True, type=Path, help="the parameter's file")
    options = parser.parse_args(arguments)
    catalog = read_catalog(
        options.data_source,
        root=Path(options.data_root) if options.data_root else None,
        classes=options.classes,
        keep_duplicate_slides=options.keep_duplicate_slides,
    )
    with tempfile.TemporaryDirectory() as folder:
        digest = fingerprint(catalog, cache=Path(folder) / "digests.json", progress=print)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(digest, encoding="utf-8")


if __name__ == "__main__":
    main()
