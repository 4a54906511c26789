"""The API description over many requests that are made up from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clio.accounts import clio_server
from tests.clio.made_up import MadeUp
from tests.clio.test_description import OPERATIONS

pytestmark = pytest.mark.soak

EXAMPLES = 100
"""For each operation."""


def test_many_requests_at_random(tmp_path: Path) -> None:
    with clio_server(tmp_path) as clio:
        made_up = MadeUp(clio)
        for method, path in OPERATIONS:
            made_up.check(method, path, EXAMPLES)
    print(f"\n{len(OPERATIONS)} operations of the description, {EXAMPLES} requests each")
