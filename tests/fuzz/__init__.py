"""Fuzzes what reads strangers' bytes, guided by coverage: `make fuzz-quick`, `make fuzz`."""
