"""How the last hour went, drawn."""
