"""`python -m tuneapp`: the command line."""

from tuneapp.cli import main

main()
