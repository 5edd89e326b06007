"""Selection of the newest stack that a machine can run, with its reason."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
import stack
from stack import COMPAT, CURRENT, Choice, NoStackError, choose


def choice_on(
    glibc: tuple[int, int] | None, *, here: Collection[str] = (), fetched: Collection[str] = (), **fields: Any
) -> Choice:
    """What is chosen on a machine with some Pythons here and others to be fetched."""
    return choose(
        glibc=glibc,
        architecture=fields.pop("architecture", "x86_64"),
        find_python=lambda version: f"/usr/bin/python{version}" if version in here else None,
        fetch_python=lambda version: f"/fetched/python{version}" if version in fetched else None,
        **fields,
    )


@pytest.mark.parametrize("version", CURRENT.pythons)
@pytest.mark.parametrize("glibc", [(2, 39), (2, 41), (3, 0)])
def test_a_new_machine_gets_the_current_stack(glibc: tuple[int, int], version: str) -> None:
    assert choice_on(glibc, here=["3.10", version])[:2] == (CURRENT, f"/usr/bin/python{version}")


def test_the_newest_of_several_pythons_is_taken() -> None:
    assert choice_on((2, 41), here=["3.11", "3.12", "3.10"]).python == "/usr/bin/python3.12"


def test_a_python_of_the_machine_is_preferred_to_a_newer_one_that_must_be_fetched() -> None:
    assert choice_on((2, 41), here=["3.11"], fetched=["3.13"]).python == "/usr/bin/python3.11"


def test_a_new_machine_without_a_python_for_it_fetches_one() -> None:
    assert choice_on((2, 41), here=["3.10"], fetched=["3.13"])[:2] == (CURRENT, "/fetched/python3.13")


def test_a_new_machine_that_can_fetch_none_takes_compat_and_says_why() -> None:
    choice = choice_on((2, 41), here=["3.10"])
    assert choice[:2] == (COMPAT, "/usr/bin/python3.10")
    assert "3.13 or 3.12 or 3.11" in choice.reason


@pytest.mark.parametrize("glibc", [(2, 17), (2, 36), (2, 38)])
def test_an_old_machine_gets_compat_whatever_pythons_it_has(glibc: tuple[int, int]) -> None:
    choice = choice_on(glibc, here=["3.13", "3.10"])
    assert choice[:2] == (COMPAT, "/usr/bin/python3.10")
    assert "current needs glibc 2.39" in choice.reason and f"2.{glibc[1]}" in choice.reason


@pytest.mark.parametrize("name", ["compat", "current"])
def test_a_stack_asked_for_is_taken(name: str) -> None:
    choice = choice_on((2, 41), here=["3.13", "3.10"], only=name)
    assert (choice.stack.name, choice.reason) == (name, "STACK asks for it")


def test_a_stack_asked_for_that_cannot_run_is_refused() -> None:
    with pytest.raises(NoStackError, match="current needs glibc 2.39, here is 2.36"):
        choice_on((2, 36), here=["3.13", "3.10"], only="current")


def test_a_stack_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(NoStackError, match="STACK=newest: there are current and compat"):
        choice_on((2, 41), here=["3.13"], only="newest")


def test_no_python_at_all_is_refused_with_those_that_would_do() -> None:
    with pytest.raises(NoStackError, match=r"3\.13 or 3\.12 or 3\.11.*3\.10"):
        choice_on((2, 41))


@pytest.mark.parametrize(("glibc", "architecture"), [(None, "x86_64"), ((2, 41), "aarch64")])
def test_a_machine_without_packages_is_refused(glibc: tuple[int, int] | None, architecture: str) -> None:
    with pytest.raises(NoStackError, match="x86-64 Linux with glibc"):
        choice_on(glibc, here=["3.13", "3.10"], architecture=architecture)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("glibc 2.36", (2, 36)), ("glibc 2.41.9000", (2, 41)), (None, None), ("musl 1.2", None)],
)
def test_glibc_is_read_from_the_running_machine(
    monkeypatch: pytest.MonkeyPatch, answer: str | None, expected: tuple[int, int] | None
) -> None:
    monkeypatch.setattr(stack.os, "confstr", lambda name: answer)
    assert stack.machine_glibc() == expected
