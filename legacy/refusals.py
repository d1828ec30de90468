"""What the move answers with (2.7). A code never changes its meaning, as in errors.py."""

from __future__ import annotations

from errors import AppError


class TruthIsLegacy(AppError):
    """The legacy store decides about this row, and this process was given none: LEGACY_CONFIG."""

    code, status, title, retryable = (
        "legacy_config_missing", 503, "Legacy configuration missing", True,
    )  # fmt: skip


class MigrationSwitching(AppError):
    """The phase of a move changes at this moment: nothing was changed."""

    code, status, title, retryable = "migration_switching", 503, "Phase is changing", True


class LegacyDown(AppError):
    """The legacy store, which decides about this, cannot be reached: nothing was changed."""

    code, status, title, retryable = "legacy_unavailable", 503, "Legacy store unavailable", True


class WriteInProgress(AppError):
    """Another write to the same row is on its way to the legacy store: ask again."""

    code, status, title, retryable = "write_in_progress", 409, "Write in progress", True


class DomainFollowsLegacy(AppError):
    """The legacy program writes these rows, and nobody else, until the next phases."""

    code, status, title = "domain_follows_legacy", 409, "Written by the legacy program"


class FilterUnavailable(AppError):
    """The legacy store, which decides about these rows, cannot filter by this."""

    code, status, title = "filter_unavailable", 409, "Filter unavailable"


class PhaseChanged(AppError):
    """The domain is in another phase than was said."""

    code, status, title = "phase_changed", 409, "Phase changed"


class GateFailed(AppError):
    """A gate of this move is closed: see errors."""

    code, status, title = "gate_failed", 409, "Gate closed"


class NotOneStep(AppError):
    """A move is one step, forward or back."""

    code, status, title = "validation_failed", 422, "Validation failed"
