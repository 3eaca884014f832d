"""Quality and disentanglement metrics: arithmetic, feature networks, protocols, records and tables."""
