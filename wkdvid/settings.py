"""Settings as they are written: where each came from, what it is called, and how its text becomes a value."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, TypeAlias, get_args, get_origin, get_type_hints

from wkdvid.core.limits import Bytes, WholeNumber
from wkdvid.core.secrets import FILE, Reference, is_reference
from wkdvid.errors import ConfigError

Seconds: TypeAlias = Annotated[float, "seconds"]
Secret: TypeAlias = Annotated[str | None, "by reference"]
"""Never written in the file: ``$VARIABLE``, ``${VARIABLE}`` or ``file:PATH`` says where it is."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?B|B)?")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
_FACTORS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_FACTORS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_FLAGS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Setting:
    """A value as it was written."""

    value: object = field(repr=False)
    where: str
    """Which file, variable or option: the beginning of an error message."""


Layer: TypeAlias = dict[str, Setting]
"""Settings of one origin by ``section.key``."""


def fold(name: str) -> str:
    """What is the same in ``httpAddress``, ``http_address`` and ``HTTP_ADDRESS``."""
    return name.replace("_", "").lower()


def is_loopback(host: str) -> bool:
    """Whether a host, or an address to listen on, is this machine alone."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def nearest(name: str, known: list[str]) -> str:
    """A clause for an error message: the most similar known name, if there is one."""
    found = difflib.get_close_matches(fold(name), [fold(one) for one in known], n=1, cutoff=0.5)
    return next(f"; did you mean {one!r}?" for one in known if fold(one) == found[0]) if found else ""


class Schema:
    """The closed set of sections and keys, drawn from the dataclasses that hold them."""

    def __init__(self, sections: Mapping[str, type]) -> None:
        self.sections = sections
        self._hints = {section: get_type_hints(kind, include_extras=True) for section, kind in sections.items()}
        self._names = {fold(name): name for section in sections for name in self.names(section)}

    def names(self, section: str) -> list[str]:
        """``section.key`` of each key, as in the file: camel case in ``[server]``, as in DVID's, else snake case."""
        return [f"{section}.{_file_key(section, one.name)}" for one in fields(self.sections[section])]

    def find(self, name: str, where: str) -> str:
        """The ``section.key`` that a name means.

        Raises:
            ConfigError: there is no such key; the message has the nearest one.
        """
        known = self._names.get(fold(name))
        if known is None:
            raise ConfigError(f"{where}: unknown key {name!r}{nearest(name, list(self._names.values()))}")
        return known

    def build(self, section: str, settings: Mapping[str, Setting], environ: Mapping[str, str]) -> Any:
        """The section's dataclass, its defaults replaced by what is set."""
        values = {}
        for name, one in zip(self.names(section), fields(self.sections[section]), strict=True):
            if name in settings:
                values[one.name] = _typed(name, self._hints[section][one.name], settings[name], environ)
        return self.sections[section](**values)


def _file_key(section: str, attribute: str) -> str:
    first, *rest = attribute.split("_")
    return first + "".join(word.capitalize() for word in rest) if section == "server" else attribute


def _typed(name: str, hint: object, setting: Setting, environ: Mapping[str, str]) -> object:
    try:
        return _secret(setting.value, environ) if hint == Secret else _reader(hint)(setting.value)
    except ValueError as error:
        raise ConfigError(f"{setting.where}: {name}: {error}") from None


def _reader(hint: object) -> Callable[[object], object]:
    if hint in _READERS:
        return _READERS[hint]
    item = get_args(hint)[0]
    if get_origin(hint) is tuple and isinstance(item, type) and is_dataclass(item):
        return partial(_tables, item)
    return _choice(hint)


def _tables(kind: type[Any], value: object) -> tuple[Any, ...]:
    """A list of tables, each of which is one dataclass. Such a list stands in the file alone."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError("not a list of tables, as they stand in the file")
    return tuple(_table(kind, f"[{i}]", item) for i, item in enumerate(value))


def _table(kind: type[Any], where: str, table: Mapping[str, object]) -> Any:
    hints = get_type_hints(kind, include_extras=True)
    values = {}
    for key, value in table.items():
        if key not in hints:
            raise ValueError(f"{where}: unknown key {key!r}{nearest(key, list(hints))}")
        try:
            values[key] = _reader(hints[key])(value)
        except ValueError as error:
            raise ValueError(f"{where}.{key}: {error}") from None
    for one in fields(kind):
        if one.name not in values and one.default is one.default_factory is MISSING:
            raise ValueError(f"{where}.{one.name}: missing")
    return kind(**values)


def _secret(value: object, environ: Mapping[str, str]) -> str:
    """Read a secret where its reference says; no message holds the value, which may be the secret itself."""
    if isinstance(value, str) and (match := _VARIABLE.fullmatch(value)):
        name = match[1] or match[2]
        if not environ.get(name):
            raise ValueError(f"environment variable {name} is not set")
        return environ[name]
    if isinstance(value, str) and value.startswith(FILE):
        try:
            return Path(value.removeprefix(FILE)).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise ValueError("the file that it names cannot be read") from None
    raise ValueError("a secret is not written here; give '$VARIABLE' or 'file:PATH'")


def _number(value: object, kind: Callable[[str], Any], what: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is not {what}")
    try:
        return kind(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is not {what}") from None


def _whole_number(value: object, least: int) -> int:
    what = f"a whole number, {least} or more"
    number: int = _number(value, int, what)
    if number < least:
        raise ValueError(f"{value!r} is not {what}")
    return number


def _seconds(value: object) -> float:
    what = "a number of seconds above 0"
    number: float = _number(value, float, what)
    if not 0 < number < float("inf"):
        raise ValueError(f"{value!r} is not {what}")
    return number


def _bytes(value: object) -> int:
    match = None if isinstance(value, bool) else _SIZE.fullmatch(str(value).strip())
    size = int(float(match[1]) * _FACTORS[match[2] or "B"]) if match else 0
    if size < 1:
        raise ValueError(
            f"{value!r} is not a number of bytes, 1 or more, or one with B, KB, KiB, MB, MiB, GB, GiB, TB, TiB"
        )
    return size


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value.lower() not in _FLAGS:
        raise ValueError(f"{value!r} is not true or false")
    return _FLAGS[value.lower()]


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("not a text, or an empty one")
    return value.strip()


def _path(value: object) -> Path:
    return Path(value if isinstance(value, Path) else _text(value)).expanduser()


def _texts(value: object) -> tuple[str, ...]:
    """A list; in a variable or an option its items are separated by commas."""
    items = [item for item in value.split(",") if item.strip()] if isinstance(value, str) else value
    if not isinstance(items, list | tuple | set | frozenset):
        raise ValueError(f"{value!r} is not a list of texts")
    return tuple(_text(str(item) if isinstance(item, Path) else item) for item in items)


def _reference(value: object) -> Reference:
    """What is no reference may be the secret itself: it is not repeated."""
    if not is_reference(value):
        raise ValueError(f"a secret is not written here; give '$VARIABLE' or '{FILE}PATH'")
    return str(value)


def _by_reference(value: object) -> Mapping[Reference, tuple[str, ...]]:
    return {_reference(key): _texts(item) for key, item in _members(value)}


def _references(value: object) -> Mapping[str, Reference]:
    return {key: _reference(item) for key, item in _members(value)}


def _members(value: object) -> Iterable[tuple[str, object]]:
    if not isinstance(value, dict):
        raise ValueError("not a table, as it stands in the file")
    return value.items()


def _choice(hint: object) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in get_args(hint):
            raise ValueError(f"{value!r} is not one of {', '.join(get_args(hint))}")
        return str(value)

    return read


_READERS: Mapping[object, Callable[[object], object]] = {
    int: lambda value: _whole_number(value, 1),
    WholeNumber: lambda value: _whole_number(value, 0),
    Seconds: _seconds,
    Bytes: _bytes,
    bool: _flag,
    str: _text,
    str | None: lambda value: None if value == "" else _text(value),
    Path: _path,
    Path | None: _path,
    Reference | None: _reference,
    Mapping[str, Reference]: _references,
    Mapping[Reference, tuple[str, ...]]: _by_reference,
    tuple[str, ...]: _texts,
    frozenset[str]: lambda value: frozenset(_texts(value)),
    tuple[Path, ...]: lambda value: tuple(_path(item) for item in _texts(value)),
}
