"""What a person with a browser sees: the list of datasets, and the description of the API."""
