"""Long work over HTTP: the same few routes for every kind of job."""
