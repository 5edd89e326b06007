"""The rules a model must satisfy to be pushed."""

from __future__ import annotations

from collections.abc import Mapping


def violations(metrics: Mapping[str, float], *, minimum: Mapping[str, float]) -> list[str]:
    """What keeps a model back, one line a rule; empty when it may pass.

    An undefined metric (NaN) never satisfies a minimum.
    """
    return [
        f"{name} on test is {metrics[name]:.4g}, below the minimum of {bound:g}"
        for name, bound in minimum.items()
        if not metrics[name] >= bound
    ]
