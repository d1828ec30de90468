"""One function, one SQL file, one row type: no commit, clock, Redis, HTTP or id making here."""
