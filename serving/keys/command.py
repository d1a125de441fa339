"""``python -m serving.keys``: make, list, remove and rotate API keys. A running service applies
changes within a second or two.

    python -m serving.keys add web --scope predict --scope feedback --days 90
    python -m serving.keys list
    python -m serving.keys rotate web --keep-hours 24
    python -m serving.keys remove web

Only a new key goes to standard output, so that it can be piped to its store; the rest goes to
standard error."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import msgspec
from pydantic import ValidationError

from blocks.settings import Settings
from serving.errors import KeysError
from serving.keys.file import SCOPES, Key, change_keys, digest, make_key, read_keys


def main(arguments: Sequence[str] | None = None) -> None:
    options = _arguments(arguments)
    try:
        for line in Settings.differences():
            _say(line)
        path = Settings.of_stack().serving_keys_path
        {"add": _add, "list": _list, "remove": _remove, "rotate": _rotate}[options.command](
            path, options
        )
    except KeysError as error:
        _fail(str(error))
    except ValidationError as error:
        _fail(f"Invalid settings: {error}")


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m serving.keys", description="API keys of the model service."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("add", help="make a key and show it, once")
    add.add_argument(
        "--scope",
        action="append",
        required=True,
        choices=SCOPES,
        help="what the key may do; can be repeated",
    )
    add.add_argument(
        "--days", type=_positive, help="days until the key expires; default: it never does"
    )
    commands.add_parser("list", help="names, scopes and dates")
    remove = commands.add_parser("remove", help="revoke all keys of this name now")
    rotate = commands.add_parser(
        "rotate", help="make a second key of this name; the first one expires later"
    )
    rotate.add_argument(
        "--keep-hours",
        type=_not_negative,
        default=24.0,
        help="hours for which the old key stays valid (default: %(default)g)",
    )
    rotate.add_argument(
        "--days",
        type=_positive,
        help="days until the new key expires; default: the lifetime of the old key",
    )
    for command in (add, remove, rotate):
        command.add_argument("name", help="name of the caller: letters, digits, . _ -")
    return parser.parse_args(arguments)


def _add(path: Path, arguments: argparse.Namespace) -> None:
    key, now = make_key(), datetime.now(UTC)

    def add(keys: list[Key]) -> list[Key]:
        if any(key.name == arguments.name and not key.expired(now) for key in keys):
            raise KeysError(
                f"{arguments.name!r} already has a key. To replace it: python -m serving.keys "
                f"rotate {arguments.name}"
            )
        return [
            *keys,
            _key(
                arguments.name,
                list(dict.fromkeys(arguments.scope)),
                key,
                now,
                _days(arguments.days),
            ),
        ]

    change_keys(path, add)
    _show(key, f"Key of {arguments.name!r}, in {path}. Store it now: it is not shown again.")


def _rotate(path: Path, arguments: argparse.Namespace) -> None:
    key, now = make_key(), datetime.now(UTC)
    end = now + timedelta(hours=arguments.keep_hours)

    def rotate(keys: list[Key]) -> list[Key]:
        old = [key for key in keys if key.name == arguments.name]
        if not old:
            raise _unknown(arguments.name, keys)
        latest = max(old, key=lambda key: key.created)
        lifetime = _days(arguments.days) or (
            latest.expires - latest.created if latest.expires else None
        )
        new = _key(arguments.name, latest.scopes, key, now, lifetime)
        ending = [
            msgspec.structs.replace(key, expires=min(key.expires or end, end))
            for key in old
            if not key.expired(now)
        ]
        return [*(key for key in keys if key.name != arguments.name), *ending, new]

    change_keys(path, rotate)
    _show(
        key,
        f"New key of {arguments.name!r}; the old key expires {_format_time(end)}. Store it now: it "
        "is not shown again.",
    )


def _remove(path: Path, arguments: argparse.Namespace) -> None:
    def remove(keys: list[Key]) -> list[Key]:
        remaining = [key for key in keys if key.name != arguments.name]
        if len(remaining) == len(keys):
            raise _unknown(arguments.name, keys)
        return remaining

    remaining = change_keys(path, remove)
    _say(f"Removed {arguments.name!r}.")
    if not remaining:
        _say(
            "No key is left: a service that requires keys now refuses every request, and "
            "does not start without a key."
        )


def _list(path: Path, _: argparse.Namespace) -> None:
    keys = read_keys(path)[0] if path.exists() else []
    now = datetime.now(UTC)
    for key in sorted(keys, key=lambda key: (key.name, key.created)):
        end = (
            "never expires"
            if key.expires is None
            else f"{'expired' if key.expired(now) else 'expires'} {_format_time(key.expires)}"
        )
        print(f"{key.name}  {','.join(key.scopes)}  made {_format_time(key.created)}  {end}")
    if not keys:
        _say(f"No keys in {path}. Make one: python -m serving.keys add NAME --scope predict")


def _key(
    name: str, scopes: Sequence[str], key: str, now: datetime, lifetime: timedelta | None
) -> Key:
    """Make a key, checked as the service will check it. Raises ``KeysError``."""
    try:
        return msgspec.convert(
            {
                "name": name,
                "scopes": scopes,
                "sha256": digest(key),
                "created": now,
                "expires": now + lifetime if lifetime else None,
            },
            Key,
        )
    except msgspec.ValidationError as error:
        raise KeysError(
            f"{name!r} is not a valid key name: use 1 to 64 letters, digits, dots, dashes or "
            "underscores."
        ) from error


def _unknown(name: str, keys: list[Key]) -> KeysError:
    return KeysError(
        f"There is no key for {name!r}. There are keys for: "
        f"{', '.join(sorted({key.name for key in keys})) or 'none'}."
    )


def _days(days: float | None) -> timedelta | None:
    return None if days is None else timedelta(days=days)


def _positive(text: str) -> float:
    return _number(text, lowest=1 / 24)


def _not_negative(text: str) -> float:
    return _number(text, lowest=0)


def _number(text: str, lowest: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not lowest <= number <= 36_500:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {lowest:.2g} to 36500")
    return number


def _format_time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="minutes").removesuffix("+00:00") + "Z"


def _show(key: str, words: str) -> None:
    _say(words)
    print(key)


def _say(words: str) -> None:
    print(words, file=sys.stderr)


def _fail(words: str) -> NoReturn:
    _say(words)
    raise SystemExit(1)
