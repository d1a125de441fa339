import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from blocks.settings import REPOSITORY
from serving.errors import Forbidden, KeysError, Unauthorized
from serving.keys.command import main
from serving.keys.file import change_keys, digest, make_key, read_keys
from serving.keys.keyring import Keys
from tests.fixtures.api_keys import bearer, put_key

NOW = datetime.now(UTC)
Command = Callable[..., str]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAUREL_STATE", str(tmp_path))
    return tmp_path / "serving" / "keys.json"


@pytest.fixture
def command(path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """``command("add", "web", ...)``: what the command writes to standard output."""

    def run(*arguments: str) -> str:
        capsys.readouterr()
        main(arguments)
        return capsys.readouterr().out.strip()

    return run


def loaded(path: Path) -> Keys:
    keys = Keys(path, required=True)
    keys.load()
    return keys


def refused(keys: Keys, headers: list[tuple[bytes, bytes]], scope: str = "predict") -> str:
    with pytest.raises(Unauthorized) as caught:
        keys.check(headers, scope)
    return str(caught.value)


def test_a_key_is_shown_once_and_only_its_digest_is_kept_where_only_the_owner_reads(
    path: Path, command: Command
) -> None:
    secret = command("add", "web", "--scope", "predict", "--scope", "feedback")
    assert re.fullmatch(r"laurel_[A-Za-z0-9_-]{43}", secret)
    assert secret not in path.read_text() and secret.removeprefix("laurel_") not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    assert (read_keys(path)[0][0].sha256, read_keys(path)[0][0].expires) == (digest(secret), None)
    assert loaded(path).check(bearer(secret), "feedback") == "web"
    assert command("list").startswith("web  predict,feedback  made 20") and secret not in command(
        "list"
    )


def test_nothing_else_stands_on_standard_output_so_that_a_key_can_be_piped(tmp_path: Path) -> None:
    environment = {**os.environ, "LAUREL_STATE": str(tmp_path)}
    arguments = [sys.executable, "-m", "serving.keys", "add", "web", "--scope", "predict"]
    process = subprocess.run(
        arguments, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"laurel_\S{43}\n", process.stdout) and "not shown again" in process.stderr
    again = subprocess.run(
        arguments, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert (again.returncode, again.stdout) == (1, "")
    assert (
        again.stderr
        == "'web' already has a key. To replace it: python -m serving.keys rotate web\n"
    )


@pytest.mark.parametrize("scheme", [b"Bearer ", b"bearer ", b"BEARER  "])
def test_a_key_is_taken_from_either_header_however_the_scheme_is_written(
    path: Path, scheme: bytes
) -> None:
    secret = put_key(path).encode()
    keys = loaded(path)
    assert keys.check([(b"authorization", scheme + secret)], "predict") == "web"
    assert (
        keys.check([(b"authorization", b"Basic eDp5"), (b"x-api-key", secret)], "predict") == "web"
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda key: key[:-1],
        lambda key: f"{key}x",
        str.swapcase,
        lambda key: key[:-1] + "~",
        lambda key: "",
    ],
)
def test_a_key_that_is_not_exactly_right_is_refused_and_not_repeated(
    path: Path, change: Callable[[str], str]
) -> None:
    secret = put_key(path)
    message = refused(loaded(path), bearer(change(secret)))
    assert "Authorization: Bearer laurel_..." in message and secret[10:20] not in message


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Basic eDp5")],
        [(b"x-api-key", b"\xff" * 50)],
        [(b"x-api-key", b"k" * 10**6)],
    ],
)
def test_without_a_key_nobody_is_let_in(path: Path, headers: list[tuple[bytes, bytes]]) -> None:
    put_key(path)
    refused(loaded(path), headers)


def test_the_digest_of_a_key_opens_nothing(path: Path) -> None:
    put_key(path)
    keys = loaded(path)
    for key in read_keys(path)[0]:
        refused(keys, bearer(key.sha256))
        refused(keys, bearer(key.sha256[:50]))


@pytest.mark.parametrize("scope", ["predict", "feedback", "operate", "decide"])
def test_a_scope_allows_itself_and_no_other(path: Path, scope: str) -> None:
    secret = put_key(path, scopes=[scope])
    keys = loaded(path)
    assert keys.check(bearer(secret), scope) == "web"
    for other in {"predict", "feedback", "operate", "decide"} - {scope}:
        with pytest.raises(Forbidden, match=f"lacks the scope '{other}'; it has {scope}"):
            keys.check(bearer(secret), other)


def test_where_no_scope_is_asked_for_no_key_is_needed(path: Path) -> None:
    put_key(path)
    assert loaded(path).check([], "") == ""


def test_an_expired_key_is_refused_and_its_holder_told_so(path: Path) -> None:
    put_key(path, name="other")
    secret = put_key(path, expires=NOW - timedelta(seconds=1))
    assert "of 'web' expired at 20" in refused(loaded(path), bearer(secret))


def test_keys_that_begin_alike_in_their_digest_are_told_apart(path: Path) -> None:
    secrets: dict[int, str] = {}
    while True:  # two of 256 first bytes meet after some twenty
        secret = make_key()
        first = int(digest(secret)[:2], 16)
        if first in secrets:
            break
        secrets[first] = secret
    put_key(path, name="one", sha256=digest(secrets[first]))
    put_key(path, name="two", sha256=digest(secret))
    keys = loaded(path)
    assert (
        keys.check(bearer(secrets[first]), "predict"),
        keys.check(bearer(secret), "predict"),
    ) == ("one", "two")


def test_where_keys_are_not_required_everybody_may_do_everything_and_the_file_is_not_looked_at(
    path: Path,
) -> None:
    path.parent.mkdir()
    path.write_text("broken")
    keys = Keys(path, required=False)
    keys.load()
    keys.reload()
    assert (
        keys.check([], "operate") == keys.check(bearer("wrong"), "operate") == ""
        and keys.last_error is None
    )


def test_making_keys_reads_nothing_before_the_start(path: Path) -> None:
    refused(Keys(path, required=True), bearer(make_key()))


@pytest.mark.parametrize("state", ["missing", "empty", "expired"])
def test_a_service_that_asks_for_keys_and_has_none_does_not_start(path: Path, state: str) -> None:
    if state == "empty":
        change_keys(path, lambda _: [])
    if state == "expired":
        put_key(path, expires=NOW)
    with pytest.raises(
        KeysError,
        match=r"on 0\.0\.0\.0.*keys\.json.*python -m serving\.keys add NAME --scope predict",
    ):
        Keys(path, required=True).load("0.0.0.0")


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o604, 0o644, 0o666])
def test_a_file_that_others_may_change_or_read_is_refused(path: Path, mode: int) -> None:
    put_key(path)
    path.chmod(mode)
    with pytest.raises(KeysError, match=rf"mode {mode:o}\): chmod 600"):
        loaded(path)


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o640])
def test_a_file_that_is_mounted_for_a_group_to_read_is_taken(path: Path, mode: int) -> None:
    secret = put_key(path)
    path.chmod(mode)
    assert loaded(path).check(bearer(secret), "predict") == "web"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "null",
        "[",
        '[{"name": "web"}]',
        '[{"name": "web", "scopes": [], "sha256": "%s", "created": "2026-11-21T04:00:00Z"}]'
        % ("0" * 64),
        '[{"name": "web", "scopes": ["all"], "sha256": "%s", "created": "2026-11-21T04:00:00Z"}]'
        % ("0" * 64),
        (
            '[{"name": "web", "scopes": ["predict"], "sha256": "0", "created": '
            '"2026-11-21T04:00:00Z"}]'
        ),
        (
            '[{"name": "a b", "scopes": ["predict"], "sha256": "%s", "created": '
            '"2026-11-21T04:00:00Z"}]'
        )
        % ("0" * 64),
        '[{"name": "web", "scopes": ["predict"], "sha256": "%s", "created": "2026-11-21T04:00:00"}]'
        % ("0" * 64),
        (
            '[{"name": "web", "scopes": ["predict"], "sha256": "%s", "created": '
            '"2026-11-21T04:00:00Z", "expire": null}]'
        )
        % ("0" * 64),
    ],
)
def test_a_broken_file_stops_a_start_and_leaves_the_keys_of_a_running_service(
    path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    secret = put_key(path)
    keys = loaded(path)
    path.write_text(text)
    with pytest.raises(KeysError, match="is not a key file"):
        loaded(path)
    for _ in range(3):
        keys.reload()
    assert keys.check(bearer(secret), "predict") == "web"
    refused(keys, bearer(make_key()))
    assert keys.last_error is not None and str(path) not in keys.last_error
    assert [record.levelno for record in caplog.records] == [logging.ERROR] and str(
        path
    ) in caplog.text


def test_a_changed_file_is_in_force_after_the_next_look(path: Path) -> None:
    old = put_key(path)
    keys = loaded(path)
    new = put_key(path, name="other")
    refused(keys, bearer(new))
    keys.reload()
    assert (keys.check(bearer(old), "predict"), keys.check(bearer(new), "predict")) == (
        "web",
        "other",
    )
    change_keys(path, lambda keys: keys[1:])
    keys.reload()
    refused(keys, bearer(old))
    assert keys.check(bearer(new), "predict") == "other"


def test_removing_the_last_key_shuts_everybody_out_of_a_running_service(
    path: Path, command: Command
) -> None:
    secret = put_key(path)
    keys = loaded(path)
    command("remove", "web")
    keys.reload()
    refused(keys, bearer(secret))
    assert keys.last_error is None


def test_a_file_that_vanishes_leaves_the_keys_and_counts_again_when_it_is_back(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = put_key(path)
    keys = loaded(path)
    away = path.rename(path.with_name("away"))
    for _ in range(3):
        keys.reload()
    assert (
        keys.check(bearer(secret), "predict") == "web"
        and keys.last_error
        and len(caplog.records) == 1
    )
    away.rename(path)
    keys.reload()
    assert keys.last_error is None


def test_a_running_service_does_not_take_a_file_that_others_may_change_until_that_is_put_right(
    path: Path,
) -> None:
    put_key(path)
    keys = loaded(path)
    new = put_key(path, name="other")
    path.chmod(0o666)
    keys.reload()
    refused(keys, bearer(new))
    path.chmod(0o600)
    keys.reload()
    assert keys.check(bearer(new), "predict") == "other" and keys.last_error is None


def test_a_rotated_name_has_two_keys_until_the_old_one_ends(path: Path, command: Command) -> None:
    old = command("add", "web", "--scope", "predict", "--days", "90")
    new = command("rotate", "web")
    keys = loaded(path)
    assert keys.check(bearer(old), "predict") == keys.check(bearer(new), "predict") == "web"
    ends = {key.sha256: key.expires for key in read_keys(path)[0]}
    assert timedelta(hours=23) < ends[digest(old)] - NOW < timedelta(hours=25)
    assert timedelta(days=89) < ends[digest(new)] - NOW < timedelta(days=91)
    newest = command("rotate", "web", "--keep-hours", "0")
    keys.reload()
    assert keys.check(bearer(newest), "predict") == "web"
    for key in (old, new):
        assert "expired" in refused(keys, bearer(key))


def test_rotating_never_makes_an_old_key_live_longer_and_forgets_what_has_expired(
    path: Path, command: Command
) -> None:
    gone = put_key(path, expires=NOW - timedelta(days=1))
    soon = put_key(path, expires=NOW + timedelta(hours=1))
    command("rotate", "web", "--keep-hours", "48")
    ends = {key.sha256: key.expires for key in read_keys(path)[0]}
    assert digest(gone) not in ends and ends[digest(soon)] == NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["remove", "wep"], "There is no key for 'wep'. There are keys for: web."),
        (["rotate", "wep"], "There is no key for 'wep'. There are keys for: web."),
        (["add", "web", "--scope", "predict"], "python -m serving.keys rotate web"),
        (["add", "a b", "--scope", "predict"], "'a b' is not a valid key name"),
        (["add", "x" * 65, "--scope", "predict"], "is not a valid key name"),
        (["add", "new", "--scope", "all"], "invalid choice: 'all'"),
        (["add", "new"], "--scope"),
        (["add", "new", "--scope", "predict", "--days", "-1"], "'-1' is not a number from"),
        (["rotate", "web", "--keep-hours", "nan"], "'nan' is not a number from"),
    ],
)
def test_a_command_that_cannot_be_done_says_why_and_changes_nothing(
    path: Path,
    command: Command,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    put_key(path)
    before = path.read_bytes()
    with pytest.raises(SystemExit) as exit_info:
        command(*arguments)
    assert exit_info.value.code not in (0, None)
    assert message in capsys.readouterr().err
    assert path.read_bytes() == before


def test_a_command_leaves_a_broken_file_alone(
    path: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    path.parent.mkdir()
    path.write_text("[")
    path.chmod(0o600)
    with pytest.raises(SystemExit):
        command("add", "web", "--scope", "predict")
    assert "is not a key file" in capsys.readouterr().err and path.read_text() == "["


def test_commands_at_the_same_time_lose_no_key(tmp_path: Path) -> None:
    environment = {**os.environ, "LAUREL_STATE": str(tmp_path)}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "serving.keys", "add", f"n{i}", "--scope", "predict"],
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for i in range(4)
    ]
    assert [process.wait() for process in running] == [0] * 4
    assert sorted(key.name for key in read_keys(tmp_path / "serving" / "keys.json")[0]) == [
        "n0",
        "n1",
        "n2",
        "n3",
    ]


def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.json", tmp_path / "keys.json"
    put_key(real)
    link.symlink_to(real)
    put_key(link, name="other")
    assert link.is_symlink() and [key.name for key in read_keys(real)[0]] == ["web", "other"]
