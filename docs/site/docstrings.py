"""Our docstrings have no blank lines between their sections, which griffe wants."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_SECTION = re.compile(r"(?<=[^\n])\n(?=(?:Args|Raises|Returns|Yields):\n)")


class Sections(Extension):
    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = _SECTION.sub("\n\n", obj.docstring.value)
