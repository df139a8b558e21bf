"""Power cuts: what a disk that loses unsynced writes leaves of a farm, at any moment of a run."""
