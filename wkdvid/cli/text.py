"""Text for a terminal. Names and reasons come from files and servers: no control character of theirs reaches it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence


def printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def complain(who: str, message: str) -> None:
    """One line on standard error for each line of the message."""
    for line in message.splitlines():
        print(f"{who}: {printable(line)}", file=sys.stderr)


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """One line for each row, its cells below each other and the last as long as it is."""
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
