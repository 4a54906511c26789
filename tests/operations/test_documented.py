"""Every metric is documented, and what is documented, drawn and watched is counted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
_DECLARED = re.compile(r'(?:^[A-Z_]+ = (?:counter|gauge|histogram)|\b_one)\(\s*"(wkdvid_\w+)"', re.MULTILINE)
_NAMED = re.compile(r"\bwkdvid_[a-z_]+[a-z]")


def declared() -> set[str]:
    return {name for path in (ROOT / "wkdvid").rglob("*.py") for name in _DECLARED.findall(path.read_text())}


def named(text: str) -> set[str]:
    return {name.removesuffix("_bucket") for name in _NAMED.findall(text)}


def test_every_metric_is_documented() -> None:
    pages = {name for page in (ROOT / "docs").rglob("*.md") for name in named(page.read_text())}
    assert declared() - pages == set()
    assert "wkdvid_requests_total" in declared()


def test_alerts_and_the_dashboard_look_at_metrics_that_there_are() -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```$", OPERATIONS, re.DOTALL | re.MULTILINE)
    (rules,) = (text for text in blocks if "alert:" in text)
    alerts = [rule["expr"] for group in yaml.safe_load(rules)["groups"] for rule in group["rules"]]
    dashboard = json.loads((ROOT / "docs" / "grafana.json").read_text())
    drawn = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(alerts) >= 5
    assert len(drawn) >= 10
    assert named(" ".join(alerts + drawn)) - declared() == set()
