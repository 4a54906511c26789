"""datasets.json as values: who a dataset is, which layers it has and where each comes from.

The document is ``{backend: {organization: {dataset: options}}}``. Options that only a backend understands are handed to
it as they were written; it names those it knows in its ``OPTIONS``.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

from wkdvid.core.geometry import Float3
from wkdvid.core.guard import check_name
from wkdvid.core.secrets import Reference, is_reference
from wkdvid.core.service_account import KEY_MEMBERS, Key, is_key
from wkdvid.core.variables import NO_VARIABLES, expand
from wkdvid.core.volume import Category
from wkdvid.errors import InvalidRequest, WkdvidError

Document: TypeAlias = dict[str, Any]

CATEGORIES: Mapping[str, Category] = {
    "image": "color",
    "color": "color",
    "segmentation": "segmentation",
}
NM_PER_UNIT: Mapping[str, float] = {
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), 1.0),
    **dict.fromkeys(("um", "µm", "μm", "micrometer", "micrometers", "micrometre", "micron", "microns"), 1e3),
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre"), 1e6),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre"), 1e7),
    **dict.fromkeys(("m", "meter", "meters", "metre"), 1e9),
    **dict.fromkeys(("pm", "picometer", "picometers"), 1e-3),
    **dict.fromkeys(("å", "angstrom", "angstroms", "ångström"), 0.1),
}
DATASET_OPTIONS = frozenset(
    {
        "layers",
        "voxel_size",
        "voxel_unit",
        "uuid",
        "dataset_id",
        "clio_name",
        "note",
        "releases",
        "public",
        "pyramids",
        "indexes",
        "absent_status",
        "credentials",
        "disk_cache",
    }
)
LAYER_OPTIONS = frozenset({"backend", "type", "voxel_size", "voxel_unit", "compression", "credentials"})
MOST_NOTE = 4096
"""Characters."""
COMPRESSIONS = frozenset({"jpeg", "lz4", "none"})


class DatasetKey(NamedTuple):
    organization: str
    dataset: str

    def __str__(self) -> str:
        return f"{self.organization}/{self.dataset}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerEntry:
    name: str
    """Empty where the dataset's entry lists no layers: the backend finds them out."""
    dataset: DatasetKey
    backend: str
    """Canonical name of the backend."""
    category: Category | None
    """None where the source has to say it."""
    voxel_size_nm: Float3 | None
    """Size of a voxel of the layer's finest level, overriding what the source says."""
    compression: str | None
    """How DVID is told the blocks are stored: ``jpeg``, ``lz4``, ``none``; None = as the source is."""
    options: Mapping[str, Any]
    """What only the backend understands (``source``, ``axes``, ``channel``...)."""
    path: str
    """Where in the document the layer stands, for messages."""
    refused_holes: bool = False
    """Whether the source answers 403 for chunks that were never written."""
    credentials: Key | Reference | None = field(default=None, repr=False)
    """The Google service account that its buckets are read with; None: as the server's configuration says."""
    disk_cache: bool = True
    """Whether what its sources send is kept on disk, where the server keeps any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetEntry:
    key: DatasetKey
    backend: str
    """The outer key as it was written."""
    layers: tuple[LayerEntry, ...]
    uuid: str
    dataset_id: str
    public: bool
    clio_name: str | None = None
    """What clio's clients call it."""
    pyramids: Mapping[str, str] = field(default_factory=dict)
    """Layer -> the source that holds levels of it that its own source lacks; ``wkdvid pyramid`` makes them."""
    indexes: Mapping[str, str] = field(default_factory=dict)
    """Layer -> the folder of its label index; ``wkdvid index`` makes it."""
    options: Mapping[str, Any] = field(repr=False)
    """The entry exactly as it was written, variables too; with the key of its account, if it is written there."""
    note: str = ""
    """What DVID's clients are told of it."""
    releases: tuple[DatasetKey, ...] = ()
    """Its older releases, oldest first (``core.releases``)."""
    is_configured: bool = False
    """Whether it stands in the server's configuration, as a DVID's store, and not in the catalog's document."""
    problems: tuple[str, ...] = ()
    """Why it cannot be served, each with its path. A file may hold such entries; a registration may not."""

    def with_only(self, layers: Collection[str]) -> DatasetEntry:
        """As it is where it lists no other layers than these."""
        options = dict(self.options)
        if isinstance(listed := options.get("layers"), dict):
            options["layers"] = {name: layer for name, layer in listed.items() if name in layers}
        return replace(self, layers=tuple(layer for layer in self.layers if layer.name in layers), options=options)


def default_uuid(key: DatasetKey) -> str:
    """The first 32 hex digits of sha256 of ``organization/dataset``."""
    return hashlib.sha256(str(key).encode()).hexdigest()[:32]


class EntryParser:
    """Turns a document into entries, collecting every problem with its JSON path."""

    def __init__(
        self,
        backends: Mapping[str, frozenset[str]],
        aliases: Mapping[str, str],
        finders: frozenset[str],
        variables: Mapping[str, str] = NO_VARIABLES,
        secrets: frozenset[str] = frozenset(),
    ) -> None:
        """
        Args:
            backends: Canonical name -> the layer options that backend understands.
            aliases: Other names -> canonical ones.
            finders: Backends that can tell the layers of a dataset. Their options may stand in the dataset's entry,
                for all of its layers, and it need list none.
            variables: Of the environment, those that stand for their values in the text of entries.
            secrets: Options that refer to secrets.
        """
        self._backends = backends
        self._aliases = aliases
        self._finders = finders
        self._variables = variables
        self._secrets = secrets | {"credentials"}
        self.problems: list[str] = []

    def parse(self, document: object) -> list[DatasetEntry]:
        """Read the whole document. ``problems`` then holds all that is wrong with it and its entries."""
        entries: list[DatasetEntry] = []
        seen: dict[DatasetKey, str] = {}
        for path, backend, key, options in self._walk(document):
            if key in seen:
                self._problem(path, f"{key} is already defined under {seen[key]}")
                continue
            seen[key] = backend
            before = len(self.problems)
            entry = self._dataset(path, backend, key, options)
            entries.append(replace(entry, problems=tuple(self.problems[before:])))
        return entries

    def _problem(self, path: str, text: str) -> None:
        self.problems.append(f"{path}: {text}")

    def _walk(self, document: object) -> Iterator[tuple[str, str, DatasetKey, Mapping[str, Any]]]:
        for backend, organizations in self._members("", document):
            for organization, datasets in self._members(backend, organizations):
                for dataset, options in self._members(f"{backend}.{organization}", datasets):
                    path = f"{backend}.{organization}.{dataset}"
                    try:
                        key = DatasetKey(check_name("organization", organization), check_name("dataset", dataset))
                    except InvalidRequest as error:
                        self._problem(path, str(error))
                        continue
                    if isinstance(options, dict):
                        yield path, backend, key, options
                    else:
                        self._problem(path, f"expected an object, got {_kind(options)}")

    def _members(self, path: str, value: object) -> Sequence[tuple[str, Any]]:
        if isinstance(value, dict):
            return list(value.items())
        self._problem(path or "body", f"expected an object, got {_kind(value)}")
        return ()

    def _dataset(self, path: str, backend: str, key: DatasetKey, written: Mapping[str, Any]) -> DatasetEntry:
        canonical = self._backend(path, backend)
        try:
            options: Mapping[str, Any] = expand(written, self._variables, self._secrets)
        except RecursionError:
            self._problem(path, "nested too deeply")
            options = {}
        return DatasetEntry(
            key=key,
            backend=backend,
            layers=self._layers(path, canonical, key, options) if canonical is not None else (),
            uuid=self._text(path, options, "uuid", r"[A-Za-z0-9._-]{1,64}") or default_uuid(key),
            dataset_id=self._text(path, options, "dataset_id", r"[0-9a-f]{24}") or default_uuid(key)[:24],
            public=self._flag(path, options, "public", default=True),
            clio_name=self._text(path, options, "clio_name", r"[A-Za-z0-9._:-]{1,128}"),
            pyramids=self._folders(path, options, "pyramids"),
            indexes=self._folders(path, options, "indexes"),
            note=self._text(path, options, "note", rf"(?s).{{0,{MOST_NOTE}}}") or "",
            releases=self._releases(path, key, options.get("releases", [])),
            options=written,
        )

    def _layers(self, path: str, backend: str, key: DatasetKey, options: Mapping[str, Any]) -> tuple[LayerEntry, ...]:
        shared = self._backends[backend] if backend in self._finders else frozenset[str]()
        self._closed(path, options, DATASET_OPTIONS | shared)
        whole = LayerEntry(
            name="",
            dataset=key,
            backend=backend,
            category=None,
            voxel_size_nm=self._voxel_size(path, options, "nanometer"),
            compression=None,
            options={name: value for name, value in options.items() if name in shared},
            path=path,
            refused_holes=self._absent_status(path, options),
            credentials=self._credentials(path, options),
            disk_cache=self._flag(path, options, "disk_cache", default=True),
        )
        if backend in self._finders and "layers" not in options:
            return (whole,)
        unit = options.get("voxel_unit", "nanometer")
        members = self._members(f"{path}.layers", options.get("layers", {}))
        layers = [self._layer(f"{path}.layers.{name}", name, layer, whole, unit) for name, layer in members]
        if not layers:
            self._problem(f"{path}.layers", "expected at least one layer")
        return tuple(layer for layer in layers if layer is not None)

    def _backend(self, path: str, name: object) -> str | None:
        canonical = self._aliases.get(name, name) if isinstance(name, str) else None
        if canonical in self._backends:
            return canonical
        self._problem(
            path, f"unknown backend {name!r}; known are {', '.join(sorted({*self._backends, *self._aliases}))}"
        )
        return None

    def _layer(self, path: str, name: str, options: object, whole: LayerEntry, unit: object) -> LayerEntry | None:
        """``whole``: what the dataset says for all of its layers."""
        if not isinstance(options, dict):
            self._problem(path, f"expected an object, got {_kind(options)}")
            return None
        try:
            check_name("layer", name)
        except InvalidRequest as error:
            self._problem(path, str(error))
            return None
        canonical = self._backend(f"{path}.backend", options.get("backend", whole.backend))
        if canonical is None:
            return None
        self._closed(path, options, LAYER_OPTIONS | self._backends[canonical])
        shared = whole.options if canonical == whole.backend else {}
        return LayerEntry(
            name=name,
            dataset=whole.dataset,
            backend=canonical,
            category=self._category(path, options),
            voxel_size_nm=self._voxel_size(path, options, unit) or whole.voxel_size_nm,
            compression=self._choice(path, options, "compression", COMPRESSIONS),
            options={**shared, **{k: v for k, v in options.items() if k not in LAYER_OPTIONS}},
            path=path,
            refused_holes=whole.refused_holes,
            credentials=self._credentials(path, options) or whole.credentials,
            disk_cache=whole.disk_cache,
        )

    def _closed(self, path: str, options: Mapping[str, Any], known: frozenset[str]) -> None:
        for option in options:
            if option not in known:
                near = difflib.get_close_matches(option, known, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
                self._problem(f"{path}.{option}", f"unknown option; {hint}")

    def _category(self, path: str, options: Mapping[str, Any]) -> Category | None:
        choice = self._choice(path, options, "type", frozenset(CATEGORIES))
        return CATEGORIES[choice] if choice is not None else None

    def _choice(self, path: str, options: Mapping[str, Any], name: str, allowed: frozenset[str]) -> str | None:
        value = options.get(name)
        if value is None or (isinstance(value, str) and value in allowed):
            return value
        self._problem(f"{path}.{name}", f"expected one of {', '.join(sorted(allowed))}, got {value!r}")
        return None

    def _text(self, path: str, options: Mapping[str, Any], name: str, pattern: str) -> str | None:
        value = options.get(name)
        if value is None or (isinstance(value, str) and re.fullmatch(pattern, value)):
            return value
        self._problem(f"{path}.{name}", f"expected text of the form {pattern}, got {value!r}")
        return None

    def _folders(self, path: str, options: Mapping[str, Any], name: str) -> Mapping[str, str]:
        folders = options.get(name, {})
        if isinstance(folders, dict) and all(isinstance(source, str) for source in folders.values()):
            return folders
        self._problem(f"{path}.{name}", "expected an object of layers, each with the path or URL of a folder")
        return {}

    def _releases(self, path: str, own: DatasetKey, releases: object) -> tuple[DatasetKey, ...]:
        found = []
        for i, name in enumerate(releases if isinstance(releases, list) else [releases]):
            organization, _, dataset = name.partition("/") if isinstance(name, str) else ("", "", "")
            try:
                found.append(DatasetKey(check_name("organization", organization), check_name("dataset", dataset)))
            except InvalidRequest:
                self._problem(f"{path}.releases[{i}]", f"expected 'organization/dataset', got {name!r}"[:200])
        if own in found:
            self._problem(f"{path}.releases", f"{own} is no older release of itself")
        return tuple(found)

    def _absent_status(self, path: str, options: Mapping[str, Any]) -> bool:
        value = options.get("absent_status")
        if value is not None and (isinstance(value, bool) or value not in (403, 404)):
            self._problem(f"{path}.absent_status", f"expected 403, or 404 as everywhere, got {value!r}")
        return value == 403

    def _credentials(self, path: str, options: Mapping[str, Any]) -> Key | Reference | None:
        value = options.get("credentials")
        if value is None or is_reference(value) or is_key(value):
            return value
        self._problem(
            f"{path}.credentials",
            f"expected the JSON key of a Google service account, with {', '.join(sorted(KEY_MEMBERS))} as text,"
            " or a reference to one: $NAME of an environment variable, or file:PATH",
        )
        return None

    def _flag(self, path: str, options: Mapping[str, Any], name: str, *, default: bool) -> bool:
        value = options.get(name, default)
        if isinstance(value, bool):
            return value
        self._problem(f"{path}.{name}", f"expected true or false, got {_kind(value)}")
        return default

    def _voxel_size(self, path: str, options: Mapping[str, Any], default_unit: object) -> Float3 | None:
        unit = options.get("voxel_unit", default_unit)
        factor = NM_PER_UNIT.get(unit.lower()) if isinstance(unit, str) else None
        if factor is None:
            self._problem(f"{path}.voxel_unit", f"unknown unit {unit!r}; known are {', '.join(sorted(NM_PER_UNIT))}")
            return None
        size = options.get("voxel_size")
        if size is None:
            return None
        if isinstance(size, list) and len(size) == 3 and all(_is_positive_number(n) for n in size):
            return (size[0] * factor, size[1] * factor, size[2] * factor)
        self._problem(f"{path}.voxel_size", f"expected three positive numbers [x, y, z], got {size!r}")
        return None


def _is_positive_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", type(None): "null", bool: "true or false"}
    return names.get(type(value), "a number")


def put_entry(document: Document, entry: DatasetEntry) -> None:
    """Add or replace one entry.

    Raises:
        InvalidRequest: the dataset stands there under another backend, or what stands in its place is no object.
    """
    for backend, organization, datasets in _organizations(document):
        if backend != entry.backend and organization == entry.key.organization and entry.key.dataset in datasets:
            raise InvalidRequest(f"{entry.key} is already registered under backend {backend!r}; remove it first")
    place = document
    for name in (entry.backend, entry.key.organization):
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            raise InvalidRequest(f"datasets.json: {name}: expected an object, got {_kind(place)}; mend the file first")
    place[entry.key.dataset] = dict(entry.options)


def put_made(document: Document, entry: DatasetEntry, option: str, layer: str, source: str) -> None:
    """Note where something is stored that was made of a layer.

    Args:
        option: ``pyramids`` or ``indexes``.
    Raises:
        InvalidRequest: the dataset is gone, or is not what the entry says any more.
    """
    place = document.get(entry.backend, {}).get(entry.key.organization, {}).get(entry.key.dataset)
    if place != dict(entry.options):
        raise InvalidRequest(f"{entry.key} was removed or registered anew meanwhile")
    place[option] = {**place.get(option, {}), layer: source}


def remove_entry(document: Document, key: DatasetKey) -> bool:
    """Take an entry out, with what it leaves empty. False if it was not there."""
    for backend, organization, datasets in _organizations(document):
        if organization == key.organization and key.dataset in datasets:
            del datasets[key.dataset]
            if not datasets:
                del document[backend][organization]
            if not document[backend]:
                del document[backend]
            return True
    return False


def dataset_names(document: Document) -> frozenset[str]:
    """``organization/dataset`` of every entry, good or not."""
    return frozenset(str(key) for _, key, _ in list_entries(document))


def list_entries(document: Document) -> Iterator[tuple[str, DatasetKey, object]]:
    """Backend, key and entry of each dataset, good or not, as they are written."""
    for backend, organization, datasets in _organizations(document):
        for name, entry in datasets.items():
            yield backend, DatasetKey(organization, name), entry


def _organizations(document: Document) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Backend, organization and its datasets. What is no object is passed over: a file may hold such."""
    for backend, organizations in document.items():
        for organization, datasets in organizations.items() if isinstance(organizations, dict) else ():
            if isinstance(datasets, dict):
                yield backend, organization, datasets


def describe_failure(error: Exception) -> str:
    """An error as one may show it: the text of our own, the bare kind of any other."""
    return str(error) if isinstance(error, WkdvidError) else type(error).__name__
