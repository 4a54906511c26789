"""What clio's clients keep, in SQL. Datasets are named as roles on them are held (``core.grants``)."""
