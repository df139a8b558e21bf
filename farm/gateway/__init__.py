"""The gateway: users on one side, workers on the other, the store behind. No ray, no torch."""
