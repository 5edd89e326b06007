"""Validation is taken from those who are not for test."""

from components.breakhis_example_gen.splits.divide_class import divide_class


def test_the_first_of_the_others_are_for_validation() -> None:
    expected = {"a": "test", "b": "test", "c": "validation", "d": "train", "e": "train"}
    assert divide_class(["a", "b"], ["c", "d", "e"], validation_share=0.3) == expected
