"""Where jobs find the layer that they are about."""

from __future__ import annotations

from dataclasses import dataclass

from wkdvid.core.catalog import Catalog, OpenLayers
from wkdvid.core.entries import DatasetKey
from wkdvid.core.jobs import Job
from wkdvid.core.layers import Layer, arrange_layers
from wkdvid.errors import NotFound


@dataclass(frozen=True, slots=True)
class JobLayers:
    """Layers are opened apart from those that are served: what jobs read does not push out what clients read."""

    catalog: Catalog
    open_layers: OpenLayers

    async def open(self, job: Job) -> Layer:
        """The job's layer, its source opened for it alone.

        Raises:
            NotFound: the dataset or its layer is gone.
            InvalidEntry, BackendError: a source of the dataset cannot be opened.
        """
        await self.catalog.look_again()
        entry = self.catalog.find(key_of(job)).entry
        opened = await self.open_layers(entry)
        layers = arrange_layers(entry, opened)
        for name, layer in layers.items():
            if name != job.layer:
                await layer.volume.aclose()
        if job.layer not in layers:
            raise NotFound(f"dataset {entry.key} has no layer {job.layer!r}")
        return layers[job.layer]


def key_of(job: Job) -> DatasetKey:
    return DatasetKey(*job.dataset.split("/"))
