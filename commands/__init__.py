"""The flask commands, a file per group; cli.py lists them."""
