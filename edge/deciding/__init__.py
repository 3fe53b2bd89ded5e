"""From crop to alert: what was seen, and whether it is to be told."""
