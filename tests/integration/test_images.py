"""Images as clients send them to a real service, and the page that one draws on."""

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.registry import RegistryServer
from tests.fixtures.browser import CHROMIUM, MISSING, Browser, Page
from tests.fixtures.digits import digits_of, write_digits
from tests.fixtures.processes import ServiceProcess, wait_until

BOARD = "document.querySelector('.board')"
SMALL = "document.querySelector('.small-image')"
PIXELS = (
    f"[...{SMALL}.getContext('2d').getImageData(0, 0, 8, 8).data].filter((_, i) => i % 4 === 0)"
)
PICTURE = "form-digits-picture"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("images")
    with RegistryServer(folder / "artifacts") as registry:
        registry.register("digits", 1, write_digits)
        registry.crown("digits", 1)
        with ServiceProcess(folder, registry.url, serving_use_cases="digits") as service:
            wait_until(
                lambda: service.client.get("/v1/digits").json().get("version") == "1",
                "the champion serves",
            )
            yield service


@pytest.fixture(scope="module")
def digit() -> tuple[bytes, str]:
    """A PNG and what it shows."""
    row = digits_of(5).row(0, named=True)
    return base64.b64decode(row["picture"]), row["digit"]


def address(service: ServiceProcess, path: str = "/v1/digits/predict") -> str:
    return f"http://127.0.0.1:{service.port}{path}"


def test_curl_uploads_files(
    service: ServiceProcess, digit: tuple[bytes, str], tmp_path: Path
) -> None:
    (tmp_path / "digit.png").write_bytes(digit[0])
    field = f"picture=@{tmp_path / 'digit.png'}"
    command = ["curl", "-s", "-F", field, "-F", field, address(service)]
    answer = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert [row["class"] for row in answer["predictions"]] == [digit[1]] * 2
    explain = [*command[:-3], address(service, "/v1/digits/explain")]
    reasons = json.loads(subprocess.run(explain, capture_output=True, check=True).stdout)
    assert [reason["field"] for reason in reasons["contributions"]] == ["picture"]


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"%PDF-1.7", 422, "Row 0, field 'picture': the file is a PDF: send a PNG or a JPEG"),
        (b"", 422, "Row 0, field 'picture'"),
        (bytes(21 * 2**20), 413, "larger than"),
    ],
)
def test_a_file_that_is_none_is_refused_and_the_service_goes_on(
    service: ServiceProcess, tmp_path: Path, content: bytes, status: int, message: str
) -> None:
    answer = service.client.post("/v1/digits/predict", files={"picture": ("a.png", content)})
    assert answer.status_code == status and message in answer.json()["error"]["message"]
    assert service.client.get("/ready").status_code == 200


@pytest.fixture(scope="module")
def page(service: ServiceProcess) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip(MISSING)
    with Browser() as browser, browser.open(address(service, "/#digits")) as page:
        page.wait_for(f"{BOARD} && {PIXELS}.some(light => light > 100)", "an example is shown")
        yield page


def draw(page: Page, points: list[tuple[float, float]], device: str = "mouse") -> None:
    """Draw a line on the board; points are shares of its width and height."""
    page.evaluate(f"{BOARD}.scrollIntoView({{ block: 'center' }})")
    box: dict[str, float] = page.evaluate(f"{BOARD}.getBoundingClientRect().toJSON()")
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    if device == "touch":
        for kind, touches in [
            ("touchStart", places[:1]),
            *(("touchMove", [place]) for place in places[1:]),
            ("touchEnd", []),
        ]:
            points_now = [{"x": x, "y": y} for x, y in touches]
            page.call("Input.dispatchTouchEvent", type=kind, touchPoints=points_now)
        return
    for kind, (x, y) in [
        ("mousePressed", places[0]),
        *(("mouseMoved", place) for place in places[1:]),
        ("mouseReleased", places[-1]),
    ]:
        page.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


def press(page: Page, words: str) -> None:
    page.evaluate(
        f"[...document.querySelectorAll('.try button')].find(button => button.innerText === "
        f"{json.dumps(words)}).click()"
    )


def answered(page: Page) -> str:
    press(page, "Predict")
    page.wait_for("document.querySelector('.reasons')", "the answer is explained")
    return page.text(".said")


@pytest.mark.parametrize("device", ["mouse", "touch"])
def test_a_digit_is_drawn_and_the_model_gets_what_is_shown(page: Page, device: str) -> None:
    press(page, "Clear")
    assert page.evaluate(f"{PIXELS}.every(light => light === 0)")
    press(page, "Predict")
    assert page.text(f"#{PICTURE}-problem") == "This field is required."
    draw(
        page,
        [(0.5, 0.12), (0.72, 0.3), (0.7, 0.7), (0.5, 0.88), (0.3, 0.7), (0.28, 0.3), (0.5, 0.12)],
        device,
    )
    assert page.text(f"#{PICTURE}-problem") == ""
    pixels = page.evaluate(PIXELS)
    assert max(pixels) > 150 and min(pixels) == 0 and pixels[8 * 4 + 4] < 60
    answer = answered(page)
    assert "0" in answer.split()
    shown = page.evaluate("document.querySelector('.reasons .what').innerText")
    assert shown == "Picture"


def test_a_chosen_file_is_shown_and_sent_and_another_is_refused_in_words(
    page: Page, digit: tuple[bytes, str], tmp_path: Path
) -> None:
    good, bad = tmp_path / "digit.png", tmp_path / "notes.png"
    good.write_bytes(digit[0])
    bad.write_text("no image")

    def choose(path: Path) -> None:
        document: dict[str, Any] = page.call("DOM.getDocument")
        where = {"nodeId": document["root"]["nodeId"], "selector": f"#{PICTURE}"}
        found = page.call("DOM.querySelector", **where)
        page.call("DOM.setFileInputFiles", files=[str(path)], nodeId=found["nodeId"])

    choose(bad)
    page.wait_for(f"document.getElementById('{PICTURE}-problem').innerText", "it is refused")
    assert "cannot read this file as an image" in page.text(f"#{PICTURE}-problem")
    choose(good)
    page.wait_for(f"{PIXELS}.some(light => light > 100)", "the file is shown")
    assert digit[1] in answered(page).split()
    assert page.problems == []
