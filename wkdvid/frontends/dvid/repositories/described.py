"""A repository as one document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wkdvid.core.catalog import Dataset
from wkdvid.core.services import Services
from wkdvid.frontends.dvid import documents
from wkdvid.frontends.dvid.instances import (
    ANNOTATIONS,
    Instance,
    Version,
    instances,
    refusal,
    segments_instances,
    type_of,
)
from wkdvid.frontends.dvid.made import made_instance


async def described(services: Services, at: Version, annotated: Sequence[str]) -> dict[str, Any]:
    """A repository, whichever node names it. Of instances of one name in several releases the newest one's is shown.

    Args:
        annotated: Datasets that have annotations.
    """
    if at.dataset is None:
        made = [await made_instance(services, at, data) for data in at.repository.instances.values()]
        return documents.repository(at.repository, made)
    versions = [
        at if node is at.node else Version(at.repository, node, services.catalog.by_uuid.get(node.uuid))
        for node in at.repository.nodes.values()
    ]
    datasets = [(one, one.dataset) for one in versions if one.dataset is not None]
    found: dict[str, Instance] = {}
    for one, dataset in datasets:
        found |= {each.name: each for each in (*instances(one, dataset), *segments_instances(one, dataset))}
        if ANNOTATIONS not in found and str(dataset.key) in annotated:
            found[ANNOTATIONS] = Instance(
                name=ANNOTATIONS, typename="annotation", owner=one.owner, repository=one.repository, node=one.node
            )
    return documents.repository(at.repository, found.values(), _properties([dataset for _, dataset in datasets]))


def _properties(releases: Sequence[Dataset]) -> dict[str, Any]:
    """What there is to say of what is not offered."""
    left_out = {
        name: refusal(layer)
        for dataset in releases
        for name, layer in dataset.layers.items()
        if type_of(layer.info) is None
    }
    reasons = [dataset.reason for dataset in releases if dataset.reason]
    return {
        **({"Unavailable": "; ".join(reasons)} if reasons else {}),
        **({"NotOffered": left_out} if left_out else {}),
    }
