"""What each route does, for the API description: one module for each front end."""

from __future__ import annotations

from collections.abc import Mapping

from wkdvid.frontends.home.operations.dvid import DVID
from wkdvid.frontends.home.operations.export import EXPORT
from wkdvid.frontends.home.operations.operation import Operation
from wkdvid.frontends.home.operations.own import OWN
from wkdvid.frontends.home.operations.webknossos import WEBKNOSSOS

OPERATIONS: Mapping[str, Operation] = {**OWN, **WEBKNOSSOS, **DVID, **EXPORT}
"""By method and path, the path without a version; but clio's, which ``clio.CLIO`` has."""
