"""Errors as statuses. Readers of both formats take 404 for zeros, and some 403 too: neither is for what has failed."""

from __future__ import annotations

from collections.abc import Mapping

from wkdvid.errors import TooLarge
from wkdvid.frontends.http import API_STATUS

STATUS: Mapping[type[BaseException], int] = {**API_STATUS, TooLarge: 413}
