"""Records of searches that no run has opened for long."""

from datetime import datetime

from blocks.settings import Settings
from tasks.models.studies import find_old_studies, remove_studies
from tasks.retention.removable import Removable


def old_studies(use_case: str, days: int, now: datetime) -> Removable:
    """Raises ``StudiesAway``."""
    url = Settings.read().studies_url
    names = find_old_studies(url, use_case, days, now) if url else []
    return Removable("studies", days, len(names), None, lambda: remove_studies(str(url), names))
