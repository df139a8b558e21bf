"""jobs.yaml: read, checked down to the column, and expanded into shots."""
