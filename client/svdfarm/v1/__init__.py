"""Generated from proto/svdfarm/v1 by `make proto`; never edited by hand."""
