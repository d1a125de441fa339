"""Where a message's buttons lead: addresses by the words on them."""

from collections.abc import Mapping

Links = Mapping[str, str]
NO_LINKS: Links = {}
