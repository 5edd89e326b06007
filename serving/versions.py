"""Which versions of a model a served folder holds."""

from pathlib import Path

SAVED_MODEL = "saved_model.pb"  # written last, so a version folder without it is not ready


def newest_version(base_path: Path) -> Path | None:
    """The complete version folder with the highest number, which TF Serving serves, if there is one."""
    if not base_path.is_dir():
        return None
    versions = [
        folder
        for folder in base_path.iterdir()
        if folder.name.isdecimal() and (folder / SAVED_MODEL).is_file()
    ]
    return max(versions, key=lambda folder: int(folder.name), default=None)
