"""What the stand-in answers to requests for metadata, and how it refuses."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from wkdvid.testing.bossdb.volume import CUBOID, Channel, Experiment


class Refusal(Exception):
    """An answer that is an error, as the server writes it."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.document = {"status": status, "code": code, "message": message}


def absent(kind: str, name: str) -> Refusal:
    return Refusal(HTTPStatus.NOT_FOUND, 4000, f"{kind} {name} does not exist")


def collection_document(collection: str, experiments: list[str]) -> dict[str, Any]:
    return {
        "name": collection,
        "description": "",
        "public": True,
        "experiments": experiments,
        "creator": "double",
    }


def experiment_document(experiment: Experiment, channels: list[str]) -> dict[str, Any]:
    return {
        "channels": channels,
        "name": experiment.name,
        "public": True,
        "description": "",
        "collection": experiment.collection,
        "coord_frame": experiment.frame_name,
        "num_hierarchy_levels": experiment.num_hierarchy_levels,
        "hierarchy_method": "isotropic" if experiment.isotropic else "anisotropic",
        "num_time_samples": experiment.time_samples,
        "time_step": None,
        "time_step_unit": "",  # intern wants text
        "creator": "double",
    }


def channel_document(experiment: Experiment, channel: Channel) -> dict[str, Any]:
    return {
        "name": channel.name,
        "public": channel.public,
        "description": "",
        "experiment": experiment.name,
        "default_time_sample": 0,
        "type": channel.type,
        "base_resolution": channel.base_resolution,
        "datatype": channel.datatype,
        "creator": "double",
        "sources": [],
        "downsample_status": channel.downsample_status,
        "related": [],
        "storage_type": channel.storage_type,
        "bucket": channel.bucket,
        "cv_path": channel.cv_path,
    }


def frame_document(experiment: Experiment) -> dict[str, Any]:
    start, stop, size = experiment.frame.start, experiment.frame.stop, experiment.voxel_size
    return {
        "name": experiment.frame_name,
        "description": "",
        **{f"{axis}_start": start[i] for i, axis in enumerate("xyz")},
        **{f"{axis}_stop": stop[i] for i, axis in enumerate("xyz")},
        **{f"{axis}_voxel_size": size[i] for i, axis in enumerate("xyz")},
        "voxel_unit": experiment.voxel_unit,
    }


def downsample_document(experiment: Experiment, channel: Channel) -> dict[str, Any]:
    """
    Raises:
        Refusal: voxels that differ in x and y: the server cannot find the nearly isotropic resolution.
    """
    x, y, _ = experiment.voxel_size
    if x != y and not experiment.isotropic:
        raise Refusal(HTTPStatus.BAD_REQUEST, 9001, "no isotropic resolution can be found")
    numbers = range(experiment.num_hierarchy_levels)
    sizes = {
        r: [size * factor for size, factor in zip(experiment.voxel_size, experiment.factors(r), strict=True)]
        for r in numbers
    }
    return {
        "status": channel.downsample_status,
        "num_hierarchy_levels": experiment.num_hierarchy_levels,
        "voxel_size": {str(r): sizes[r] for r in numbers},
        "extent": {str(r): list(experiment.stop(r)) for r in numbers},
        "cuboid_size": {str(r): list(CUBOID) for r in numbers},
    }
