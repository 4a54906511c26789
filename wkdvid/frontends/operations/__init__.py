"""``/health/live``, ``/health/ready`` and ``/metrics``: what balancers and operators ask the server."""
