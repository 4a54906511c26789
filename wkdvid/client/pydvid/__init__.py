"""pydvid's modules and functions, so that its scripts run when they import from here.

They take an ``http.client.HTTPConnection``, or what is used like one, such as ``dvid_connection.DvidConnection``. Left
out are pydvid's Qt browser, ``labelgraph`` (DVID has dropped that type) and vigra's axistags.
"""

from __future__ import annotations

from wkdvid.client.pydvid import dvid_connection, errors, general, keyvalue, voxels

__all__ = ["dvid_connection", "errors", "general", "keyvalue", "voxels"]
