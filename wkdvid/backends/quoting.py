"""What a source's own documents say, as a part of messages and notes: it may be long, and hold anything."""

from __future__ import annotations

LONGEST_WORD = 80
LONGEST_MESSAGE = 2000


def plain(text: object, longest: int = LONGEST_WORD) -> str:
    """The text in one line that every client can be sent: cut, with escapes for what cannot be printed."""
    whole = str(text)
    cut = whole if len(whole) <= longest else f"{whole[:longest]}..."
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in cut)
