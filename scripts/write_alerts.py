"""Write the alert rules of monitoring as an object of the Prometheus operator: see k8s/README.md."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
RULES = _ROOT / "knet" / "serving" / "monitoring" / "alerts.yaml"
OBJECT = _ROOT / "k8s" / "base" / "monitoring" / "alerts.yaml"
_HEADER = """\
# Written by scripts/write_alerts.py from knet/serving/monitoring/alerts.yaml: change that, and call it again.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: knet-serving
spec:
"""


def alerts_object(rules: str) -> str:
    """The PrometheusRule, as YAML, of a file of rules as Prometheus itself reads it."""
    kept = [line for line in rules.splitlines() if not line.startswith("#")]
    return _HEADER + "".join(f"  {line}\n" if line else "\n" for line in kept)


if __name__ == "__main__":
    OBJECT.write_text(alerts_object(RULES.read_text("utf-8")), "utf-8")
