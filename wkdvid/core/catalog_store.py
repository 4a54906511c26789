"""Where the catalog's document is kept, and how the workers of a machine agree about it."""

from __future__ import annotations

import asyncio
import copy
import fcntl
import json
import mmap
import os
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from wkdvid.core.agreement import Generations
from wkdvid.core.durable import replaced
from wkdvid.core.entries import Document, dataset_names
from wkdvid.core.own_accounts import FOLDER, files_of, put_away
from wkdvid.errors import ConfigError, InvalidRequest

_COUNTER = struct.Struct("<Q")

COUNTER = "catalog.generation"
"""File of the generation, in the state folder."""
EVERYTHING = "*"
"""Stands for all datasets in ``Snapshot.renewed``; no organization or dataset may be called that."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The catalog as every worker is to see it."""

    document: Document
    renewed: Mapping[str, int]
    """``organization/dataset`` (or ``*``) -> the generation since when its sources are to be opened afresh."""
    generation: int


class CatalogStore(Generations, Protocol):
    """One document, changed by one writer at a time, with a generation that every change raises."""

    async def load(self) -> Snapshot: ...

    async def update(self, change: Callable[[Document], None], renew: Iterable[str]) -> Snapshot:
        """Load, change, save durably and raise the generation, with no other writer in between.

        If ``change`` raises, nothing is written.

        Args:
            renew: Datasets whose sources are to be opened afresh, in all workers.
        """
        ...


class SharedCounter:
    """A number in a small memory-mapped file, which all workers of a host see as it is."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._memory = _map_counter(path)

    @property
    def value(self) -> int:
        return int(_COUNTER.unpack_from(self._memory)[0])

    def raise_to(self, value: int) -> None:
        """The larger one stays: who was first need not be the first to say so."""
        with self._path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if value > self.value:
                self.set(value)

    def add(self, step: int) -> None:
        with self._path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.set(self.value + step)

    def set(self, value: int) -> None:
        """Whatever it was; for who knows that nobody raises it meanwhile."""
        _COUNTER.pack_into(self._memory, 0, value)


class FileCatalogStore:
    """datasets.json, rewritten atomically, with a counter in a small memory-mapped file that all workers share."""

    def __init__(self, path: Path, state_folder: Path) -> None:
        """
        Args:
            path: datasets.json; a missing file is an empty catalog.
            state_folder: Holds the counter and the lock; the same for all workers.
        """
        self._path = path
        state_folder.mkdir(parents=True, exist_ok=True)
        self._lock_path = state_folder / "catalog.lock"
        self._renewed_path = state_folder / "catalog.renewed.json"
        self._keys = state_folder / FOLDER
        self._counter = SharedCounter(state_folder / COUNTER)

    def generation(self) -> int:
        return self._counter.value

    async def load(self) -> Snapshot:
        return await asyncio.to_thread(self._load)

    def _load(self) -> Snapshot:
        generation = self.generation()
        return Snapshot(read_document(self._path), read_document(self._renewed_path), generation)

    async def refresh(self) -> None:
        """Nothing to do: the file is this host's alone."""

    async def update(self, change: Callable[[Document], None], renew: Iterable[str]) -> Snapshot:
        return await asyncio.to_thread(self._update, change, tuple(renew))

    def _update(self, change: Callable[[Document], None], renew: Sequence[str]) -> Snapshot:
        """All in one thread, the lock too: a client that goes away must not release it before the change is written."""
        with self._lock_path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = self._load()
            document = copy.deepcopy(before.document)
            change(document)
            generation = before.generation + 1
            renewed = {**before.renewed, **dict.fromkeys(renew, generation)}
            known = dataset_names(document) | {EVERYTHING}
            renewed = {name: since for name, since in renewed.items() if name in known}
            write_document(self._renewed_path, renewed)
            if document != before.document:
                self._write(document)
            self._counter.raise_to(generation)
            self._forget_keys(files_of(document))
            return Snapshot(document, renewed, generation)

    def _write(self, document: Document) -> None:
        """The keys in it are written apart, and first: what is in the file is always whole."""
        for name, key in put_away(document).items():
            write_document(self._keys / name, key)
        write_document(self._path, document)

    def _forget_keys(self, kept: frozenset[str]) -> None:
        for file in self._keys.iterdir() if self._keys.is_dir() else ():
            if file.name not in kept:
                file.unlink()


def _map_counter(path: Path) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if os.fstat(descriptor).st_size < _COUNTER.size:
            os.ftruncate(descriptor, _COUNTER.size)
        return mmap.mmap(descriptor, _COUNTER.size)
    finally:
        os.close(descriptor)


def read_document(path: Path) -> Document:
    """Read datasets.json.

    Raises:
        ConfigError: it is not a JSON object; the message gives line and column.
    """
    try:
        return parse_document(path.read_bytes())
    except FileNotFoundError:
        return {}
    except InvalidRequest as error:
        raise ConfigError(f"{path.name}: {error}") from error


def parse_document(text: bytes) -> Document:
    """
    Raises:
        InvalidRequest: not a JSON object, with line and column where it does not parse.
    """
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)
        if b"\\u" in text:
            json.dumps(document, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except json.JSONDecodeError as error:
        raise InvalidRequest(f"not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("not valid JSON: not UTF-8 text, a number too long, or nested too deeply") from error
    if not isinstance(document, dict):
        raise InvalidRequest("expected a JSON object {backend: {organization: {dataset: {...}}}}")
    return document


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        twice = next(name for name, count in Counter(name for name, _ in members).items() if count > 1)
        raise InvalidRequest(f"{twice[:200]!r} stands twice in one object")
    return found


def _no_number(name: str) -> None:
    raise InvalidRequest(f"{name} is not a number in JSON")


def write_document(path: Path, document: Document) -> None:
    """Replace the file in one step, durably; readers see the old or the new one, never half. Mode 0600."""
    with replaced(path) as file:
        file.write(f"{json.dumps(document, indent=4)}\n".encode())
