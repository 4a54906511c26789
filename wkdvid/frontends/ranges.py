"""The Range header of a GET (RFC 9110, section 14), as far as readers of arrays use it: one range of bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass

_RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{1,18})?|-([0-9]{1,18}))")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A part that was asked for, before the length of the whole is known."""

    first: int | None
    """None: the last ``length`` bytes are meant."""
    last: int | None
    """Inclusive; None: to the end."""
    length: int = 0

    def of(self, whole: int) -> range | None:
        """The bytes of an object of so many; None: none of them exists, which is answered by 416."""
        if self.first is None:
            part = range(max(whole - self.length, 0), whole)
        else:
            part = range(self.first, whole if self.last is None else min(self.last + 1, whole))
        return part if part else None


def parse_range(header: str | None) -> ByteRange | None:
    """None where the whole is to be sent: nothing was asked, or something else than one range of bytes."""
    found = _RANGE.fullmatch(header.strip()) if header is not None else None
    if found is None:
        return None
    first, last, length = (int(text) if text is not None else None for text in found.groups())
    if first is not None and last is not None and last < first:
        return None
    return ByteRange(first, last, length or 0)
