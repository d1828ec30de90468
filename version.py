"""The release, as /healthz, the migration history and replay runs name it."""

VERSION = "0.1.0"
