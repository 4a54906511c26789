"""What clio's handlers are given: who is who, what is kept, and what datasets are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wkdvid.clio_config import ClioConfig
from wkdvid.config import Config
from wkdvid.core.catalog import Catalog
from wkdvid.core.catalog_store import SharedCounter
from wkdvid.core.grants import clio_names
from wkdvid.core.users import Users
from wkdvid.identity.chain import Identities
from wkdvid.metadata.clio.annotations import Annotations
from wkdvid.metadata.clio.datasets import COUNTER, Datasets
from wkdvid.metadata.clio.neurons import Neurons
from wkdvid.metadata.clio.points import Points
from wkdvid.metadata.clio.values import Values
from wkdvid.metadata.clio.volumes import SiteReports, Volumes
from wkdvid.metadata.engine import open_engine
from wkdvid.metadata.queries import Queries
from wkdvid.signatures.folders import SignatureFolders

if TYPE_CHECKING:
    from wkdvid.identity.login import Login


class Names:
    """Clio's names of datasets and the names under which things are held (decisions.md 7)."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._generation = -1
        self._held: Mapping[str, str] = {}
        self._shown: Mapping[str, str] = {}

    def held(self, name: str) -> str:
        """``organization/dataset`` of a registered dataset, whatever it is called; another name stays as it is."""
        self._look()
        return self._held.get(name, name)

    def shown(self, held: str) -> str:
        """What clio's clients call it."""
        self._look()
        return self._shown.get(held, held)

    def _look(self) -> None:
        if self._generation != self._catalog.generation:
            self._held = clio_names(self._catalog.datasets())
            self._shown = {held: name for name, held in self._held.items()}  # the last, which is the chosen one
            self._generation = self._catalog.generation


@dataclass(frozen=True, slots=True, kw_only=True)
class Clio:
    config: ClioConfig
    identities: Identities
    login: Login | None
    """None: no provider has this server as its client."""
    names: Names
    datasets: Datasets
    annotations: Points
    """Of the first version."""
    typed: Annotations
    searches: Points
    atlas: Points
    values: Values
    neurons: Neurons
    volumes: Volumes
    site_reports: SiteReports
    signatures: SignatureFolders
    transfers: Path
    """Folder of the volumes that transfers have made."""

    @property
    def users(self) -> Users:
        return self.identities.users


def open_clio(config: Config, catalog: Catalog, identities: Identities, login: Login | None) -> Clio:
    queries = Queries(open_engine(config.metadata.database_url))
    return Clio(
        config=config.clio,
        identities=identities,
        login=login,
        names=Names(catalog),
        datasets=Datasets(queries, SharedCounter(config.state_dir / COUNTER)),
        annotations=Points(queries, "v1"),
        typed=Annotations(queries),
        searches=Points(queries, "search"),
        atlas=Points(queries, "atlas"),
        values=Values(queries),
        neurons=Neurons(queries),
        volumes=Volumes(queries),
        site_reports=SiteReports(queries),
        signatures=SignatureFolders(config.signatures_dir),
        transfers=config.transfers_dir,
    )
