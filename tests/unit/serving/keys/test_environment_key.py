"""The key of the service's own environment, beside those of the file."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from blocks.settings import Settings
from serving.errors import Forbidden, KeysError, Unauthorized
from serving.keys.admission import keys_of
from serving.keys.file import make_key
from serving.keys.keyring import OWN_NAME, Keys
from tests.fixtures.api_keys import bearer, put_key

OWN = "0123456789abcdef" * 2  # as short as one may be, and of another form than the file's


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "serving" / "keys.json"


def loaded(path: Path, own: str | None = OWN, **options: bool) -> Keys:
    keys = Keys(path, required=True, own=own, **options)
    keys.load()
    return keys


def test_it_has_every_scope_and_needs_no_file(path: Path) -> None:
    keys = loaded(path)
    assert {
        keys.check(bearer(OWN), scope) for scope in ("predict", "feedback", "operate", "decide")
    } == {OWN_NAME}
    for other in (OWN[:-1], OWN[:-1] + "0", OWN + "f", make_key(), ""):
        with pytest.raises(Unauthorized):
            keys.check(bearer(other), "predict")


def test_keys_of_the_file_are_good_beside_it_and_may_come_later(path: Path) -> None:
    keys = loaded(path)
    keys.reload()
    assert keys.last_error is None  # no file is no trouble
    web = put_key(path)
    keys.reload()
    assert (keys.check(bearer(web), "predict"), keys.check(bearer(OWN), "predict")) == (
        "web",
        OWN_NAME,
    )
    path.unlink()
    keys.reload()
    assert keys.last_error is not None  # a file that vanishes is
    assert keys.check(bearer(web), "predict") == "web"


def test_where_the_file_has_the_same_key_its_scopes_hold(path: Path) -> None:
    same = put_key(path, scopes=["predict"])
    keys = loaded(path, same)
    assert keys.check(bearer(same), "predict") == "web"
    with pytest.raises(Forbidden, match="lacks the scope 'operate'"):
        keys.check(bearer(same), "operate")


def test_a_broken_file_stops_the_start_though_the_environment_has_a_key(path: Path) -> None:
    put_key(path)
    path.write_text("[")
    with pytest.raises(KeysError, match="is not a key file"):
        loaded(path)


def test_a_service_that_may_lack_keys_starts_without_and_lets_nobody_in(path: Path) -> None:
    keys = loaded(path, None, may_lack=True)
    assert keys.check([], "") == ""
    with pytest.raises(Unauthorized):
        keys.check(bearer(make_key()), "predict")


@pytest.mark.parametrize("own", [OWN[:-1], OWN + " ", "é" * 40, "x" * 257])
def test_one_that_is_short_or_no_header_can_carry_is_refused_without_being_shown(
    path: Path, own: str
) -> None:
    with pytest.raises(KeysError, match="32 random characters") as caught:
        loaded(path, own)
    assert own not in str(caught.value)


def test_it_is_not_looked_at_where_no_key_is_asked_for(path: Path) -> None:
    keys = keys_of(Settings(state=path.parent, serving_key=SecretStr("short")))
    keys.load()
    assert not keys.required


def test_an_empty_variable_is_no_key(path: Path) -> None:
    with pytest.raises(KeysError, match="LAUREL_SERVING_KEY"):
        keys_of(Settings(state=path.parent, host="0.0.0.0", serving_key=SecretStr(""))).load()
