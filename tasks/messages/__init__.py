"""The announcements by subject. Tasks take them from ``tasks.announcements``."""

from collections.abc import Mapping

Links = Mapping[str, str]
NO_LINKS: Links = {}
