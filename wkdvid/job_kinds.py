"""The kinds of jobs, put together from the configuration: for the server, and for the workers of a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from wkdvid.backends.label_index.job import KIND as INDEX
from wkdvid.backends.label_index.job import IndexKind
from wkdvid.backends.pyramid_job import KIND as PYRAMID
from wkdvid.backends.pyramid_job import PyramidKind
from wkdvid.backends.registry import Backends
from wkdvid.backends.workplace import Workplace
from wkdvid.config import Config
from wkdvid.core.catalog import Catalog
from wkdvid.core.entries import DatasetEntry
from wkdvid.core.job_layers import JobLayers
from wkdvid.core.jobs import JobKind, ReadParameters
from wkdvid.core.reading import Reader
from wkdvid.core.registration import Registrar
from wkdvid.errors import JobFailed
from wkdvid.openers import make_opener
from wkdvid.signatures import job as signatures_job
from wkdvid.signatures.folders import SignatureFolders
from wkdvid.signatures.job import KIND as SIGNATURES
from wkdvid.signatures.job import SignaturesKind
from wkdvid.transfer import job as transfer_job
from wkdvid.transfer.job import KIND as TRANSFER
from wkdvid.transfer.job import TransferKind
from wkdvid.transfer.models import Models

KINDS = (PYRAMID, INDEX, SIGNATURES, TRANSFER)
DEADLINE_S = 120.0
"""For one read of a job: nobody waits for it."""


def make_kinds(config: Config, catalog: Catalog, registrar: Registrar | None) -> Mapping[str, JobKind]:
    """
    Args:
        registrar: None: in a process that does tasks alone, and makes nothing known.
    """
    opener = make_opener(config, config.limits.working_bytes, DEADLINE_S, look_s=0.0)
    place, threads = Workplace(config.data_dir, opener, catalog), config.jobs.workers
    layers = JobLayers(catalog, Backends(opener).open_layers)
    executor = ThreadPoolExecutor(threads, thread_name_prefix="job")
    models, reader = Models(config.models_dir), Reader(config.limits, executor)
    add_pyramid = _add_nothing if registrar is None else registrar.add_pyramid
    add_index = _add_nothing if registrar is None else registrar.add_index
    return {
        PYRAMID: PyramidKind(place, add_pyramid, threads),
        INDEX: IndexKind(place, add_index, threads, config.limits.working_bytes),
        SIGNATURES: SignaturesKind(layers, SignatureFolders(config.signatures_dir), executor),
        TRANSFER: TransferKind(layers, reader, models, executor, config.transfers_dir),
    }


async def _add_nothing(entry: DatasetEntry, layer: str, folder: str) -> None:
    raise JobFailed(f"{folder} of {entry.key}, {layer}: only a server makes known what a job has made")


def job_parameters(config: Config) -> Mapping[str, ReadParameters]:
    return {
        SIGNATURES: signatures_job.read_parameters,
        TRANSFER: partial(transfer_job.read_parameters, Models(config.models_dir)),
    }
