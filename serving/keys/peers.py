"""Which user's process is at the other end of a connection on this machine: the kernel knows, and
no caller can fake it.

Linux answers for one pair of addresses over netlink (``sock_diag(7)``), to anybody, in some ten
microseconds."""

import errno
import logging
import os
import socket
import struct

_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG
_BY_FAMILY, _ERROR, _REQUEST = 20, 2, 1
_HEAD = struct.Struct("=IHHII")
_QUERY = struct.Struct("=BBBBI")
_ADDRESSES = struct.Struct(">HH16s16s")
_ANY_INTERFACE_AND_COOKIE = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
_ANSWER = struct.Struct("=BBBB48sIIIII")
_LISTEN = 10
_NOBODY_HERE = ("127.0.0.1", 0)
_ROOT = 0

Address = tuple[str, int | None]
logger = logging.getLogger(__name__)


class Peers:
    """Tells the service's own user from other users of the machine. One for each process; its
    socket lives as long.
    """

    def __init__(self) -> None:
        self._own = frozenset(
            (os.geteuid(), _ROOT)
        )  # root may read the keys and the memory of the service anyway
        self._netlink: socket.socket | None = None
        try:
            self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _SOCK_DIAG)
            self._netlink.settimeout(1.0)
            self._find_user(_NOBODY_HERE, _NOBODY_HERE)
        except (AttributeError, OSError) as error:  # not Linux, or a sandbox
            self.close()
            logger.warning("this system does not tell which user a caller belongs to: %s", error)

    def is_own(self, caller: Address, here: Address) -> bool:
        """Whether the service's own user or root connected; true if the system does not tell."""
        if self._netlink is None:
            return True
        try:
            return self._find_user(caller, here) in self._own
        except OSError as error:
            logger.error("the caller's user could not be determined, so it is refused: %s", error)
            return False

    def close(self) -> None:
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None

    def _find_user(self, caller: Address, here: Address) -> int | None:
        """The user of the socket that is bound to ``caller`` and connected to ``here``; ``None`` if
        no process has it.
        """
        assert self._netlink is not None
        family = socket.AF_INET6 if ":" in caller[0] else socket.AF_INET
        ends = [socket.inet_pton(family, address).ljust(16, b"\0") for address, _ in (caller, here)]
        query = _QUERY.pack(family, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF)
        query += _ADDRESSES.pack(caller[1], here[1], *ends) + _ANY_INTERFACE_AND_COOKIE
        self._netlink.send(_HEAD.pack(_HEAD.size + len(query), _BY_FAMILY, _REQUEST, 0, 0) + query)
        answer = self._netlink.recv(4096)
        if _HEAD.unpack_from(answer)[1] == _ERROR:
            (code,) = struct.unpack_from("=i", answer, _HEAD.size)
            if -code == errno.ENOENT:
                return None
            raise OSError(-code, os.strerror(-code))
        _, state, _, _, _, _, _, _, user, inode = _ANSWER.unpack_from(answer, _HEAD.size)
        return (
            user if inode and state != _LISTEN else None
        )  # without an inode it is closed, and its user is said to be root
