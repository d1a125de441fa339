"""Which side answers a caller: a salted hash of the routing key, the same on every replica and
after each restart. A caller who is on the challenger's side stays there while the share grows."""

from hashlib import blake2b

_SPAN = 2**32


class Split:
    """The challenger's ``share`` (0-1) of the routing keys. ``salt`` is the rollout's own, so that
    the same callers are not the first ones each time."""

    def __init__(self, salt: str, share: float) -> None:
        self._hash = blake2b(salt.encode(), digest_size=4)
        self._below = round(share * _SPAN)

    def takes(self, key: bytes) -> bool:
        """Whether the challenger answers the caller with this key."""
        hashed = self._hash.copy()
        hashed.update(key)
        return int.from_bytes(hashed.digest(), "big") < self._below
