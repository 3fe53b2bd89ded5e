"""Float bundle -> full-integer bundle, loaded, run and compared before it is written."""
