"""A stand-in for BossDB on loopback, which the ``intern`` client accepts: its arithmetic, its errors, and faults."""

from wkdvid.testing.bossdb.sample import sample_experiment
from wkdvid.testing.bossdb.server import BossDouble
from wkdvid.testing.bossdb.volume import Channel, Experiment

__all__ = ["BossDouble", "Channel", "Experiment", "sample_experiment"]
