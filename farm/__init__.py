"""Everything that runs on the farm operator's side, and the `farm` command."""

__version__ = "0.1.0"
