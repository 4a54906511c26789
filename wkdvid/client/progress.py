"""A bar of tqdm for what takes long, if it is wanted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress_bar(name: str, total: int, *, shown: bool) -> Iterator[Callable[[int], object]]:
    """Gives what is called with the number of pieces that are done."""
    if not shown:
        yield lambda _: None
        return
    from tqdm.auto import tqdm  # noqa: PLC0415 - it takes its time to import

    with tqdm(total=total, desc=name, unit="piece") as bar:
        yield bar.update
