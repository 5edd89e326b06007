"""Which versions of a model a served folder holds."""

from pathlib import Path

SAVED_MODEL = "saved_model.pb"  # written last, so a version folder without it is not ready


def complete_versions(base_path: Path) -> dict[int, Path]:
    """The folders of complete versions by their number, the lowest first; none without the folder."""
    if not base_path.is_dir():
        return {}
    found = {
        int(folder.name): folder
        for folder in base_path.iterdir()
        if folder.name.isdecimal() and (folder / SAVED_MODEL).is_file()
    }
    return dict(sorted(found.items()))


def newest_version(base_path: Path) -> Path | None:
    """The complete version folder with the highest number, which TF Serving serves, if there is one."""
    return next(reversed(complete_versions(base_path).values()), None)
