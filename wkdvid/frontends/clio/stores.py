"""What clio's handlers are given: who is who, what is kept, and what datasets are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wkdvid.clio_config import ClioConfig
from wkdvid.config import Config
from wkdvid.core.catalog import Catalog
from wkdvid.core.grants import Names
from wkdvid.core.users import Users
from wkdvid.identity.chain import Identities
from wkdvid.metadata.audit import Record
from wkdvid.metadata.clio.annotations import Annotations
from wkdvid.metadata.clio.datasets import Datasets, open_datasets
from wkdvid.metadata.clio.neurons import Neurons
from wkdvid.metadata.clio.points import Points
from wkdvid.metadata.clio.values import Values
from wkdvid.metadata.clio.volumes import SiteReports, Volumes
from wkdvid.metadata.engine import open_engine
from wkdvid.metadata.queries import Queries
from wkdvid.signatures.folders import SignatureFolders

if TYPE_CHECKING:
    from wkdvid.identity.login import Login


@dataclass(frozen=True, slots=True, kw_only=True)
class Clio:
    config: ClioConfig
    identities: Identities
    logins: Mapping[str, Login]
    """By name: of the providers that have this server as their client."""
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
    record: Record

    async def public(self) -> frozenset[str]:
        """Datasets, as they are held, where whoever is logged in has ``clio_general``."""
        return self.names.public() | await self.datasets.public()

    @property
    def users(self) -> Users:
        return self.identities.users


def open_clio(config: Config, catalog: Catalog, identities: Identities, logins: Mapping[str, Login]) -> Clio:
    queries = Queries(open_engine(config.metadata.database_url))
    return Clio(
        config=config.clio,
        identities=identities,
        logins=logins,
        names=Names(catalog),
        datasets=open_datasets(config.metadata.database_url, config.state_dir),
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
        record=Record(queries),
    )
