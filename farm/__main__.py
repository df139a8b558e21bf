"""`python -m farm`: the `farm` command."""

from farm.cli import main

main()
