"""The pages of long work: what runs, how far it is, and how it is begun and cancelled."""
