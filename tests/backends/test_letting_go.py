"""A client that goes away in the moment in which its read ends must not stop the process."""

from __future__ import annotations

import subprocess
import sys

ABANDONED = 25_000
"""With ``Future.cancel`` one in some 10,000 hangs."""
PROGRAM = f"""
import asyncio, random, time
import tensorstore as ts
from wkdvid.backends.outcomes import outcomes

METADATA = {{"dimensions": [32] * 3, "blockSize": [16] * 3, "dataType": "uint8", "compression": {{"type": "raw"}}}}

async def abandon(store, count, seconds):
    reading = asyncio.ensure_future(outcomes(lambda _: store[:16, :16, :16].read(), range(count), 10))
    await asyncio.sleep(0)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    reading.cancel()
    (result,) = await asyncio.gather(reading, return_exceptions=True)
    return isinstance(result, asyncio.CancelledError)

async def main():
    store = ts.open({{"driver": "n5", "kvstore": "memory://", "metadata": METADATA}}, create=True).result()
    store.write(1).result()
    dice = random.Random(0)
    print(sum([await abandon(store, dice.choice((1, 4)), dice.uniform(0, 100e-6)) for _ in range({ABANDONED})]))

asyncio.run(main())
"""


def test_reads_abandoned_in_the_moment_in_which_they_end() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=True)
    assert int(ended.stdout) > ABANDONED // 2
    assert ended.stderr == ""
