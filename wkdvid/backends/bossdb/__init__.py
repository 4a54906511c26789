"""BossDB: the channels of an experiment, read as cutouts over its REST API."""
