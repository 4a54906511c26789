"""Requests that schemathesis makes up from the API description, and what it says of their answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import requests
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import openapi
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from tests.clio.accounts import DATASET, OWNER, Clio
from wkdvid.signatures.building import build
from wkdvid.signatures.folders import SignatureFolders
from wkdvid.signatures.records import records_of

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance]


class MadeUp:
    """Requests of an administrator, half of them about a dataset that there is."""

    def __init__(self, clio: Clio) -> None:
        folders = SignatureFolders(clio.server.data_dir / "signatures")
        build(folders.folder(("lab", "other")), [records_of(np.array([[1, 2, 3]]), np.array([5], np.uint64))], 160, {})
        self._schema = openapi.from_url(f"{clio.server.base}/openapi.json")
        self._session = requests.Session()
        self._session.headers.update(clio.header(OWNER))

    def check(self, method: str, path: str, examples: int) -> None:
        """
        Args:
            path: As the description has it.
        """

        @settings(
            max_examples=examples,
            phases=[Phase.generate],
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=self._schema[path][method].as_strategy(), is_there=st.booleans())
        def ask(case: Any, is_there: bool) -> None:
            if is_there and "dataset" in (case.path_parameters or {}):
                case.path_parameters["dataset"] = DATASET
            answer = case.call(session=self._session, allow_redirects=False, timeout=60)
            case.validate_response(answer, checks=CHECKS)

        ask()
