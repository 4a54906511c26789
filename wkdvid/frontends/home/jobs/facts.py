"""What the pages say of jobs, and which they offer to begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wkdvid.core.catalog import Dataset
from wkdvid.core.entries import DatasetKey
from wkdvid.core.jobs import Job, JobState
from wkdvid.frontends.home.facts import address_of

PYRAMID, INDEX = "pyramid", "index"
WORDS = {
    PYRAMID: "Store the lower resolutions that it lacks",
    INDEX: "Find out where each label is",
}
"""By the kind, what the command line says of it."""


@dataclass(frozen=True, slots=True)
class Row:
    id: str
    kind: str
    dataset: str
    address: str
    """Of the dataset's page, relative to the server's root."""
    layer: str
    state: str
    done: int
    total: int
    """0: not known yet."""
    message: str
    ended: bool
    may_cancel: bool
    """What failed leaves what it has made, to go on with; cancelled, it is removed."""


@dataclass(frozen=True, slots=True)
class Offer:
    kind: str
    words: str
    layer: str
    job: str
    """Its id, of the newest such job; "" if there is none."""
    state: str
    may_begin: bool

    @property
    def act(self) -> str:
        return {"failed": "Go on with", "": "Begin"}.get(self.state, "Begin again:")


def row_of(job: Job) -> Row:
    organization, _, name = job.dataset.partition("/")
    return Row(
        job.id,
        job.kind,
        job.dataset,
        address_of(DatasetKey(organization, name)),
        job.layer,
        job.state.value,
        job.done,
        job.total,
        job.message,
        job.state.ended,
        job.state in {JobState.QUEUED, JobState.RUNNING, JobState.FAILED},
    )


def offers(dataset: Dataset, jobs: Sequence[Job]) -> Sequence[Offer]:
    """The work that the layers of a dataset can be given.

    Args:
        jobs: The dataset's, newest first.
    """
    newest: dict[tuple[str, str], Job] = {}
    for job in jobs:
        newest.setdefault((job.kind, job.layer), job)
    wanted = [
        (kind, name)
        for name, layer in dataset.layers.items()
        for kind in WORDS
        if kind == PYRAMID or layer.info.category == "segmentation"
    ]
    return [_offer(kind, name, newest.get((kind, name))) for kind, name in wanted]


def _offer(kind: str, layer: str, job: Job | None) -> Offer:
    if job is None:
        return Offer(kind, WORDS[kind], layer, "", "", may_begin=True)
    return Offer(kind, WORDS[kind], layer, job.id, job.state.value, job.state.ended)
