"""Tasks of jobs on a Dask cluster: ``executor`` hands them out, ``worker`` does them."""
