"""What is known of the archive in which BreaKHis is published, and from where.

The address is the one that public scripts fetch it from, and it is of the same server as the data set's home
page, where the terms are. No hash is published. The size is second-hand: 4 GB, by kaiko-ai/eva,
docs/datasets/breakhis.md.

The 7,909 names (`breakhis_v1_names.txt.gz`) are from data/metadata.csv in mariaserov/ML_BreakHis, commit
d1459ecc, and are those of data/splits/{train,val,test}.csv in caiojohnston/breakhis-dataaug, commit 042984f4,
a list made independently. Counts by class and magnification are those of the home page, but for benign images
at 40X, where the page prints 652 and its own total of 1,995 gives 625, as the list does.
"""

from __future__ import annotations

import gzip
from importlib import resources
from typing import Final

HOME_PAGE: Final = "https://web.inf.ufpr.br/vri/databases/breast-cancer-histopathological-database-breakhis/"
URL: Final = "http://www.inf.ufpr.br/vri/databases/BreaKHis_v1.tar.gz"
FILE_NAME: Final = "BreaKHis_v1.tar.gz"
APPROXIMATE_SIZE: Final = "about 4 GB"


def official_names() -> frozenset[str]:
    """The paths of the 7,909 images below `BreaKHis_v1/histology_slides/breast`, with forward slashes."""
    packed = (resources.files("pipeline") / "data" / "breakhis_v1_names.txt.gz").read_bytes()
    return frozenset(gzip.decompress(packed).decode().split())
