"""How the published bundles were made, from the data on; nothing here is installed."""
