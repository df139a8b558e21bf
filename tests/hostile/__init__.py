"""A hostile world: who may do what, and what nobody may."""
