"""Reports: a finished (or failed) run in, one self-contained HTML page out."""
