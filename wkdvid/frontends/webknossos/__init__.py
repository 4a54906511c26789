"""The webKnossos datastore protocol, as of 2019 (``/{organization}/{dataset}``) and of today (``/{datasetId}``)."""
