"""Datasets made at run time from a TensorStore spec, as the TensorStore DVID API has them (decisions.md 5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wkdvid.core.catalog import Dataset
from wkdvid.core.entries import DatasetKey, Document
from wkdvid.errors import InvalidRequest
from wkdvid.frontends.dvid.versions import RUNTIME


def dataset_name(query: Mapping[str, str]) -> str:
    name = query.get("dataset_name")
    if not name:
        raise InvalidRequest("dataset_name: missing; write ?dataset_name=NAME")
    return name


def key(name: str) -> DatasetKey:
    return DatasetKey(RUNTIME, name)


def entry(name: str, spec: object, axes: str | None) -> Document:
    """A document that registers one dataset of one layer, both called ``name``.

    Args:
        spec: TensorStore's JSON.
        axes: Which axis each of the spec's dimensions is, where it does not say so itself.
    """
    layer = {"source": spec, **({"axes": axes} if axes else {})}
    return {"tensorstore": {RUNTIME: {name: {"layers": {name: layer}}}}}


def names(datasets: Iterable[Dataset]) -> list[str]:
    """Of those that were made at run time; a spec may hold secrets and is not shown."""
    return [dataset.key.dataset for dataset in datasets if dataset.key.organization == RUNTIME]
