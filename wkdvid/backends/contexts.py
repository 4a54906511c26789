"""TensorStore contexts: how much is cached, how many requests run at a time, how often they are tried."""

from __future__ import annotations

from typing import Any


def context_spec(pool_bytes: int) -> dict[str, Any]:
    """
    Args:
        pool_bytes: Of decoded chunks.
    """
    # three tries within about a second: a client's request waits for them
    retries = {"max_retries": 3, "initial_delay": "100ms", "max_delay": "1s"}
    return {
        "cache_pool": {"total_bytes_limit": pool_bytes},
        "file_io_concurrency": {"limit": 16},
        "http_request_concurrency": {"limit": 64},
        "http_request_retries": retries,
        "gcs_request_concurrency": {"limit": 64},
        "gcs_request_retries": retries,
        "s3_request_concurrency": {"limit": 64},
        "s3_request_retries": retries,
    }
