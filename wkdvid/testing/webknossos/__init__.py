"""A stand-in for webKnossos's main server on loopback: for a datastore that reports to it, and for clients."""

from wkdvid.testing.webknossos.faults import Faults
from wkdvid.testing.webknossos.server import MainServer
from wkdvid.testing.webknossos.state import Generation

__all__ = ["Faults", "Generation", "MainServer"]
