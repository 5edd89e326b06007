"""Tests of the model store: at every moment there is a complete version, and it is the right one."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knet.base.errors import UserError
from knet.serving.model_store import (
    leftovers,
    list_versions,
    prune,
    publish_model,
    push_version,
    remove_leftovers,
    remove_version,
    rollback,
    rollback_target,
    withdrawn_as,
)
from knet.serving.models_config import (
    complete_versions,
    newest_version,
    next_labels,
    read_models_config,
    write_models_config,
)

Model = Callable[[str], Path]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    def make(content: str) -> Path:
        folder = tmp_path / f"model-{content}"
        (folder / "variables").mkdir(parents=True, exist_ok=True)
        (folder / "saved_model.pb").write_text(content)
        (folder / "variables" / "data").write_text(content * 100)
        return folder

    return make


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "served" / "knet"


def labels(base: Path) -> dict[str, int]:
    (config,) = read_models_config(base / "models.config").model_config_list.config
    assert config.base_path == str(base.resolve())
    return dict(config.version_labels)


def push(base: Path, model: Model, *names: str) -> list[int]:
    return [int(push_version(model(name), base)) for name in names]


def test_push_version_is_above_all_earlier_ones(base: Path, model: Model) -> None:
    before = int(time.time())
    first, second, third = push(base, model, "a", "b", "c")
    assert before <= first < second < third
    rollback(base, first)
    (fourth,) = push(base, model, "d")
    assert fourth > third
    assert (base / str(fourth) / "variables" / "data").read_text() == "d" * 100


def test_publish_model_pushes_only_another_content(base: Path, model: Model) -> None:
    versions = [publish_model(model(name), base) for name in "aabbaa"]
    first, second, third = versions[::2]
    assert versions[1::2] == [first, second, third]
    assert [str(version) for version in complete_versions(base)] == [first, second, third]
    assert (base / str(third) / "saved_model.pb").read_text() == "a"


def test_publish_model_again_after_damage(base: Path, model: Model) -> None:
    first = publish_model(model("a"), base)
    (base / str(first) / "variables" / "data").unlink()
    second = publish_model(model("a"), base)
    assert second != first and (base / str(second) / "variables" / "data").is_file()


def test_publish_model_respects_a_rollback(base: Path, model: Model) -> None:
    first, second = (publish_model(model(name), base) for name in "ab")
    assert first and second
    rollback(base, int(first))
    assert publish_model(model("b"), base) is None
    assert publish_model(model("a"), base) == first
    rollback(base, int(second))
    assert publish_model(model("b"), base) == second


def test_publish_model_concurrently_pushes_once(base: Path, model: Model) -> None:
    folder = model("a")
    with ThreadPoolExecutor(8) as pool:
        versions = set(pool.map(lambda _: publish_model(folder, base), range(8)))
    assert len(versions) == len(complete_versions(base)) == 1


def test_push_interrupted_leaves_nothing(base: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    push(base, model, "a")
    before = sorted(path.name for path in base.iterdir())

    def fill_the_disk(source: Path, target: Path) -> None:
        target.mkdir()
        (target / "saved_model.pb").write_bytes((source / "saved_model.pb").read_bytes())
        raise OSError("disk full")

    monkeypatch.setattr(shutil, "copytree", fill_the_disk)
    with pytest.raises(OSError, match="disk full"):
        push(base, model, "b")
    assert sorted(path.name for path in base.iterdir()) == before


def test_push_removes_what_killed_processes_left(base: Path, model: Model) -> None:
    push(base, model, "a")
    for name in (".pushing-dead", ".deleting-7"):
        (base / name / "variables").mkdir(parents=True)
    (base / ".pushing-dead" / ".owner").touch()
    assert {folder.name for folder in leftovers(base)} == {".pushing-dead", ".deleting-7"}
    push(base, model, "b")
    assert leftovers(base) == []
    assert [path.name for path in base.glob(".*ing-*")] == []


def test_leftovers_leave_a_push_in_progress(
    base: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, found = shutil.copytree, []

    def watched(*paths: Any, **options: Any) -> None:
        found.append((remove_leftovers(base), [path.name for path in base.glob(".pushing-*")]))
        monkeypatch.undo()
        copy(*paths, **options)

    monkeypatch.setattr(shutil, "copytree", watched)
    push(base, model, "a")
    ((removed, pushing),) = found
    assert removed == [] and len(pushing) == 1


@pytest.mark.parametrize("change", ["push", "remove"])
def test_leftovers_removed_meanwhile_leave_folders_in_deletion(
    base: Path, model: Model, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    (version,) = push(base, model, "a")
    rmtree, cleaners = shutil.rmtree, list[Thread]()

    def watched(folder: Path, **options: Any) -> None:
        if cleaners:
            rmtree(folder, **options)
            return
        (folder / ".owner").unlink(missing_ok=True)
        cleaners.append(Thread(target=remove_leftovers, args=(base,)))
        cleaners[0].start()
        cleaners[0].join(0.3)
        rmtree(folder, **options)

    monkeypatch.setattr(shutil, "rmtree", watched)
    if change == "push":
        push(base, model, "b")
    else:
        remove_version(str(version), base)
    cleaners[0].join()
    assert len(complete_versions(base)) == (2 if change == "push" else 0)


def test_push_onto_a_full_disk_says_what_it_needs(
    base: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(base, model, "a")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10, total=10**9))
    with pytest.raises(UserError, match="no space for the model .0.0 MB needed, 0.0 MB left.; free space"):
        push(base, model, "b")
    assert leftovers(base) == [] and len(complete_versions(base)) == 1


def test_push_concurrent_versions_are_distinct(base: Path, model: Model) -> None:
    models = [model(str(number)) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(lambda folder: push_version(folder, base), models))
    assert len(set(versions)) == 8
    served = {folder.joinpath("saved_model.pb").read_text() for folder in complete_versions(base).values()}
    assert served == {str(number) for number in range(8)}


def test_labels_follow_pushes_and_rollbacks(base: Path, model: Model) -> None:
    (first,) = push(base, model, "a")
    assert labels(base) == {"stable": first, "canary": first}
    (second,) = push(base, model, "b")
    assert labels(base) == {"stable": first, "canary": second}
    (third,) = push(base, model, "c")
    assert labels(base) == {"stable": second, "canary": third}
    assert rollback(base, rollback_target(base)) == [third]
    assert labels(base) == {"stable": second, "canary": second}
    (fourth,) = push(base, model, "d")
    assert labels(base) == {"stable": second, "canary": fourth}


@given(
    st.dictionaries(st.sampled_from(["stable", "canary", "mine"]), st.integers(1, 9)),
    st.sets(st.integers(1, 9), min_size=1),
)
def test_next_labels_only_name_existing_versions(before: Mapping[str, int], versions: set[int]) -> None:
    after = next_labels(before, versions)
    assert set(after.values()) <= versions
    assert after["canary"] == max(versions) and after["stable"] <= after["canary"]
    assert next_labels(after, versions) == after


def test_models_config_preserves_user_edits(base: Path, model: Model) -> None:
    (first,) = push(base, model, "a")
    file = base / "models.config"
    text = file.read_text().replace("num_versions: 2", "num_versions: 3")
    mine = f'version_labels {{ key: "mine" value: {first} }}'
    file.write_text(text.replace("version_labels", f"{mine} version_labels", 1))
    push(base, model, "b")
    assert "num_versions: 3" in file.read_text() and labels(base)["mine"] == first


def test_models_config_unreadable_is_refused(base: Path, model: Model) -> None:
    push(base, model, "a")
    (base / "models.config").write_text("model_config_list { config { nme: 'knet' } }")
    with pytest.raises(UserError, match=r"models\.config is not a ModelServerConfig in text format.*nme"):
        write_models_config(base)
    (base / "models.config").write_text("model_config_list {}")
    with pytest.raises(UserError, match="must have one model"):
        write_models_config(base)


def test_rollback_withdraws_and_restores_versions(base: Path, model: Model) -> None:
    first, second, third = push(base, model, "a", "b", "c")
    assert rollback(base, first) == [second, third]
    assert newest_version(base) == base / str(first)
    assert withdrawn_as(model("b"), base) == str(second)
    assert withdrawn_as(model("a"), base) is None
    assert rollback(base, rollback_target(base, second)) == []
    assert newest_version(base) == base / str(second)
    assert withdrawn_as(model("b"), base) is None and withdrawn_as(model("c"), base) == str(third)
    states = {version.number: version.state for version in list_versions(base)}
    assert states == {third: "withdrawn", second: "served", first: "served"}


@pytest.mark.parametrize("moved", [0, 1])
def test_rollback_interrupted_goes_no_further(
    base: Path, model: Model, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    first, second, third, fourth = push(base, model, "a", "b", "c", "d")
    renamed: list[Path] = []
    rename = Path.rename

    def crash(path: Path, target: Path) -> Path:
        if path.parent == base and len(renamed) == moved:
            raise OSError("power cut")
        renamed.append(path)
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", crash)
        with pytest.raises(OSError, match="power cut"):
            rollback(base, second)
    assert withdrawn_as(model("b"), base) is None
    assert rollback_target(base, production=second) == second
    rollback(base, second)
    assert list(complete_versions(base)) == [first, second]
    assert (withdrawn_as(model("c"), base), withdrawn_as(model("d"), base)) == (str(third), str(fourth))
    assert rollback_target(base, production=second) == first


def test_restore_interrupted_is_not_withdrawn(
    base: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = push(base, model, "a", "b")
    rollback(base, first)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            rollback(base, second)
    assert withdrawn_as(model("b"), base) is None
    rollback(base, second)
    assert publish_model(model("b"), base) == str(second)


def test_rollback_target_passes_over_unknown_versions(base: Path, model: Model) -> None:
    first, second, third = push(base, model, "a", "b", "c")
    assert rollback_target(base, is_known=lambda version: version != second) == first
    with pytest.raises(
        UserError, match=f"no version before the newest that a recorded run pushed, only {first}, "
    ):
        rollback_target(base, is_known=lambda version: False)
    assert rollback_target(base, production=second, is_known=lambda version: True) == second
    assert rollback_target(base, production=third) == second


def test_rollback_target_missing_is_refused(base: Path, model: Model) -> None:
    (first,) = push(base, model, "a")
    with pytest.raises(UserError, match="no version before the newest"):
        rollback_target(base)
    with pytest.raises(UserError, match=f"no version 5; there are {first}"):
        rollback_target(base, 5)


def test_prune_keeps_versions_in_use(base: Path, model: Model) -> None:
    versions = push(base, model, *"abcdefg")
    rollback(base, versions[5])
    assert labels(base)["stable"] == versions[5]
    deleted = prune(base, keep=1, in_use={versions[0]})
    # The config loads the two newest.
    assert list(complete_versions(base)) == [versions[0], *versions[4:6]]
    assert deleted == [*versions[1:4], versions[6]]
    assert withdrawn_as(model("g"), base) == str(versions[6])  # known by its digest
    assert prune(base, keep=5, in_use={versions[0]}) == []
    assert not [path for path in base.iterdir() if path.name.startswith(".deleting")]
    assert push(base, model, "h") > versions[-1:]  # also above the pruned one


def test_store_empty_has_no_versions(base: Path) -> None:
    assert prune(base, keep=1) == [] and list_versions(base) == []
