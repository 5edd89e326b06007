"""TF Serving's JSON over HTTP, as its documentation has it."""

from __future__ import annotations

import base64
import json
import math
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browser import Browser
from stand_in import Rest, served

from knet.serving.dev_server.rest import render_page
from knet.serving.dev_server.server import DevServer

Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def ask(server: DevServer) -> Ask:
    def ask(path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"http://{server.rest_address}/v1/models/{path}", data) as reply:
            assert reply.headers["Content-Type"].startswith("application/json")
            return json.load(reply)

    return ask


@pytest.fixture
def image(png: Callable[[int], bytes]) -> dict[str, str]:
    return {"b64": base64.b64encode(png(51)).decode()}


@pytest.mark.parametrize("path", ["knet", "knet/versions/7"])
def test_rows(ask: Ask, image: dict[str, str], path: str) -> None:
    (row,) = ask(f"{path}:predict", {"signature_name": "serving_default", "instances": [image]})[
        "predictions"
    ]
    assert row == {
        "probabilities": [0.8, 0.2],  # not 0.800000011920929
        "classes": ["benign", "malignant"],
        "label": "benign",
        "score": 0.2,
        "in_distribution": False,
        "reasons": ["dark", ""],
        "distance": 0.8,
    }
    assert ask(f"{path}:predict", {"instances": [{"image": image}]}) == {"predictions": [row]}


def test_columns(ask: Ask, image: dict[str, str]) -> None:
    for inputs in ([image, image], {"image": [image, image]}):
        outputs = ask("knet:predict", {"inputs": inputs})["outputs"]
        assert outputs["score"] == [0.2, 0.2] and outputs["classes"] == [["benign", "malignant"]] * 2


def test_a_single_output_goes_without_its_name(ask: Ask) -> None:
    assert ask("knet:predict", {"signature_name": "double", "inputs": [1, 2.5]}) == {"outputs": [2.0, 5.0]}
    row = {"signature_name": "double", "instances": [1, 2.5]}
    assert ask("knet:predict", row) == {"predictions": [2.0, 5.0]}


def test_several_inputs(ask: Ask) -> None:
    rows = [{"a": [1, 2], "b": [3, 4]}, {"a": [5, 6], "b": [7, 8]}]
    expected = [
        {"sum": [4.0, 6.0], "name_bytes": {"b64": "/w=="}},
        {"sum": [12.0, 14.0], "name_bytes": {"b64": "/w=="}},
    ]
    assert ask("knet:predict", {"signature_name": "add", "instances": rows}) == {"predictions": expected}
    columns = {name: [row[name] for row in rows] for name in ("a", "b")}
    outputs = ask("knet:predict", {"signature_name": "add", "inputs": columns})["outputs"]
    assert outputs["sum"] == [[4.0, 6.0], [12.0, 14.0]]


def test_whole_numbers(ask: Ask) -> None:
    assert ask("knet:predict", {"signature_name": "count", "instances": [1, 254]}) == {
        "predictions": [2, 255]
    }


def test_tokens_that_json_lacks(ask: Ask) -> None:
    body = {"signature_name": "double", "inputs": [math.nan, -math.inf]}
    outputs = ask("knet:predict", body)["outputs"]
    assert math.isnan(outputs[0]) and outputs[1] == -math.inf


def test_classify(ask: Ask, image: dict[str, str]) -> None:
    body = {"signature_name": "classify", "examples": [{"image/encoded": image}, {"image/encoded": [image]}]}
    assert ask("knet:classify", body) == {"results": [[["benign", 0.8], ["malignant", 0.2]]] * 2}


def test_classify_with_a_context(ask: Ask, image: dict[str, str]) -> None:
    body = {
        "signature_name": "classify",
        "context": {"image/encoded": image, "count": [1, 2], "share": [0.5], "name": "a"},
        "examples": [{}],
    }
    assert ask("knet:classify", body) == {"results": [[["benign", 0.8], ["malignant", 0.2]]]}


@pytest.mark.parametrize("path", ["knet", "knet/versions/7"])
def test_status(ask: Ask, path: str) -> None:
    status = {"error_code": "OK", "error_message": ""}
    assert ask(path) == {"model_version_status": [{"version": "7", "state": "AVAILABLE", "status": status}]}


def test_metadata(ask: Ask) -> None:
    tree = ask("knet/metadata")
    assert tree["model_spec"] == {"name": "knet", "version": "7"}
    signatures = tree["metadata"]["signature_def"]["signature_def"]
    assert signatures["double"]["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert signatures["classify"]["method_name"] == "tensorflow/serving/classify"


def test_the_root_is_the_page_of_the_development_server(server: DevServer) -> None:
    with urllib.request.urlopen(f"http://{server.rest_address}/") as reply:
        assert reply.status == 200 and reply.read()


def test_the_card_is_what_the_newest_version_says_of_itself(server: DevServer) -> None:
    with urllib.request.urlopen(f"http://{server.rest_address}/card") as reply:
        assert json.load(reply) == {"version": 7, "candidate": "tiny"}


pytestmark = pytest.mark.browser
PHONE, DESK = 390, 1280
CALLED = "[...document.querySelectorAll('#cards .called')].map(e => e.textContent)"
REFERRALS = (
    "Object.fromEntries([...document.querySelectorAll('#cards li')]"
    ".map(li => [li.querySelector('.name').textContent, li.querySelector('.referral').textContent]))"
)
ROWS = "[...document.querySelectorAll('#patient-rows tr')].map(row => [...row.cells].map(c => c.textContent))"
FOCUS = "document.activeElement.id || document.activeElement.className"


def ask_page(chromium: Browser, images: list[Path]) -> None:
    """Chooses images and waits for the answers."""
    chromium.choose("#files", images)
    chromium.wait(
        f"document.getElementById('progress').textContent.startsWith('{len(images)} of {len(images)}')"
    )


def test_the_page_loads_nothing_but_what_its_server_answers(chromium: Browser, url: str) -> None:
    chromium.open(url, width=DESK)
    chromium.wait("document.getElementById('served').textContent.startsWith('Version 7')")
    assert chromium.requested == [url, f"{url}v1/models/knet", f"{url}card"]
    assert chromium.complaints == []
    assert "Development server." in chromium.run("document.querySelector('.note').textContent")
    assert "not a medical device" in chromium.run("document.querySelector('.note').textContent")


def test_every_image_gets_its_answer_or_a_reason(
    chromium: Browser, url: str, rest: Rest, images: list[Path]
) -> None:
    chromium.open(url, width=DESK)
    ask_page(chromium, images)
    assert chromium.run(REFERRALS) == {
        "SOB_M_DC-14-2523-200-001.png": "Not referred: clear of the threshold",
        "SOB_M_DC-14-2523-200-002.png": "Not referred: clear of the threshold",
        "SOB_B_A-14-22549AB-200-001.png": "Not referred: clear of the threshold",
        "SOB_B_A-14-22549G-200-002.png": "Refer to a pathologist: close to the threshold",
        "scan.jpg": "Refer to a pathologist: close to the threshold",
        "black.png": "Refer to a pathologist: the model does not vouch for this image (little tissue)",
        "notes.png": "this is no PNG or JPEG file",
    }
    assert chromium.run(CALLED) == ["malignant"] * 2 + ["benign"] * 2 + ["malignant", "benign", "No answer"]
    assert chromium.run("document.getElementById('progress').textContent") == (
        "7 of 7 images done, 1 without an answer"
    )
    sent = {request["instances"][0]["b64"] for request in rest.asked}
    assert sent == {base64.b64encode(image.read_bytes()).decode() for image in images[:-1]}
    assert {request["signature_name"] for request in rest.asked} == {"serving_default"}
    assert chromium.complaints == []


def test_the_band_of_referral_lies_within_a_factor_of_three_of_the_thresholds_odds(
    chromium: Browser, url: str
) -> None:
    chromium.open(url, width=DESK)
    for threshold in (0.05, 0.6, 0.95):
        limits = chromium.run(f"band({threshold})")
        low, middle, high = (p / (1 - p) for p in (limits["low"], threshold, limits["high"]))
        assert high / middle == pytest.approx(3) == middle / low
    assert chromium.run("[band(0), band(1)]") == [{"low": 0, "high": 0}, {"low": 1, "high": 1}]


def test_the_answers_own_threshold_comes_before_the_cards(
    chromium: Browser, info: dict[str, Any], images: list[Path]
) -> None:
    with served(Rest(info, threshold=0.95)) as url:
        chromium.open(url, width=DESK)
        ask_page(chromium, images[:1])  # 0.96, which the card's threshold would be far below
        assert list(chromium.run(REFERRALS).values()) == ["Refer to a pathologist: close to the threshold"]


def test_patients_are_summed_up_by_accession(
    chromium: Browser, url: str, rest: Rest, images: list[Path]
) -> None:
    chromium.open(url, width=DESK)
    chromium.run("document.getElementById('patient').value = '14-9 é'")
    ask_page(chromium, images)
    rows = chromium.run(ROWS)
    assert [[*row[:2], *row[3:]] for row in rows] == [
        ["14-22549", "benign", "1 of 2", "Not referred"],
        ["14-2523", "malignant", "0 of 2", "Not referred"],
        ["14-9 é", "benign", "2 of 2", "Refer: mean close to the threshold; 1 of 2 not vouched for"],
    ]
    assert rest.patients == {"14-22549", "14-2523", "14-9%20%C3%A9"}
    means = chromium.run("patients().map(patient => patient.mean)")
    scores = chromium.run("images.map(image => image.answer?.score)")
    assert means == pytest.approx([(scores[2] + scores[3]) / 2, (scores[0] + scores[1]) / 2, scores[4] / 2])


def test_heat_maps_lie_over_their_images(chromium: Browser, url: str, rest: Rest, images: list[Path]) -> None:
    chromium.open(url, width=DESK)
    ask_page(chromium, images[:2])
    chromium.run("document.querySelector('button.heat').click()")
    chromium.wait("document.querySelector('button.heat').getAttribute('aria-pressed') === 'true'")
    alphas = chromium.run(
        "(() => { const c = document.querySelector('#cards canvas'), pen = c.getContext('2d');"
        " return [...pen.getImageData(0, 0, c.width, c.height).data].filter((_, i) => i % 4 === 3); })()"
    )
    assert len(alphas) == 24 and alphas[0] == 0 and max(alphas) == alphas[-1] == round(255 * 0.65)
    picture, canvas = (
        chromium.run(f"document.querySelector('#cards {tag}').getBoundingClientRect().toJSON()")
        for tag in ("img", "canvas")
    )
    assert picture == canvas
    chromium.run("document.getElementById('heat-maps').click()")
    chromium.wait("document.querySelectorAll('#cards canvas:not([hidden])').length === 2")
    explained = [request for request in rest.asked if request["signature_name"] == "explain"]
    assert len(explained) == 2  # a heat map that is there is not asked for again


def test_the_page_can_be_used_by_keyboard(chromium: Browser, url: str, images: list[Path]) -> None:
    chromium.open(url, width=DESK)
    ask_page(chromium, images[:1])
    passed = []
    for _ in range(12):
        chromium.press("Tab")
        passed.append(chromium.run(FOCUS))
        if passed[-1] == "heat":
            break
    assert passed == [
        "skip", "card-button", "files", "patient", "heat-maps", "clear", "wide", "heat",
    ]  # fmt: skip
    chromium.press("Enter")
    chromium.wait("!document.querySelector('#cards canvas').hidden")
    chromium.press(" ")
    chromium.wait("document.querySelector('#cards canvas').hidden")
    for _ in range(6):
        chromium.press("Tab", shift=True)
    assert chromium.run(FOCUS) == "card-button"
    chromium.press("Enter")
    chromium.wait("document.getElementById('card').open")
    chromium.press("Escape")
    assert chromium.run("document.getElementById('card').open") is False
    assert chromium.run(FOCUS) == "card-button"


def test_the_model_card_says_what_the_model_is_and_is_not(
    chromium: Browser, url: str, info: dict[str, Any]
) -> None:
    chromium.open(url, width=DESK)
    chromium.run("document.getElementById('card-button').click()")
    chromium.wait("document.getElementById('card').open")
    text = chromium.run("document.getElementById('card').innerText")
    for part in (
        "Not a medical device", "mobilenet", "version 7", "1,234,567 parameters", "Intended use", "Limits",
        "probability of 0.600", info["fingerprint"], info["split_sha256"], "Licence",
    ):  # fmt: skip
        assert part in text


@pytest.mark.parametrize(
    ("width", "dark"), [(PHONE, False), (PHONE, True), (DESK, False), (DESK, True)],
    ids=["phone", "phone in the dark", "desk", "desk in the dark"],
)  # fmt: skip
def test_it_fits_every_screen_and_every_text_stands_out(
    chromium: Browser, url: str, images: list[Path], width: int, dark: bool
) -> None:
    chromium.open(url, width=width, dark=dark)
    ask_page(chromium, images)
    background = chromium.run("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") is not dark
    assert (chromium.faint, chromium.complaints) == ([], [])
    assert chromium.needed_width <= width
    chromium.run("document.getElementById('card-button').click()")
    chromium.wait("document.getElementById('card').open")
    assert chromium.faint == []


def test_a_model_trained_on_synthetic_images_is_called_so(chromium: Browser, info: dict[str, Any]) -> None:
    with served(Rest({**info, "synthetic_data": True})) as url:
        chromium.open(url, width=DESK)
        chromium.wait("!document.getElementById('synthetic').hidden")


def test_without_a_threshold_images_are_referred_by_doubt_alone(
    chromium: Browser, images: list[Path]
) -> None:
    with served(Rest(None)) as url:
        chromium.open(url, width=DESK)
        ask_page(chromium, images[3:6])
        assert list(chromium.run(REFERRALS).values()) == [
            "Not referred", "Not referred",
            "Refer to a pathologist: the model does not vouch for this image (little tissue)",
        ]  # fmt: skip
        assert {row[1] for row in chromium.run(ROWS)} == {"the model has no threshold"}


def test_a_server_that_wants_a_token_is_given_it(
    chromium: Browser, info: dict[str, Any], images: list[Path]
) -> None:
    with served(Rest(info, token="secret")) as url:
        chromium.open(url, width=DESK)
        chromium.wait("!document.getElementById('token-form').hidden")
        assert "a token is needed" in chromium.run("document.getElementById('trouble').textContent")
        chromium.run("document.getElementById('token').value = 'secret'")
        chromium.run("document.getElementById('token-form').requestSubmit()")
        chromium.wait("document.getElementById('token-form').hidden")
        ask_page(chromium, images[:1])
        assert chromium.run(CALLED) == ["malignant"]


def test_a_server_that_went_away_is_said_to_be_so(
    chromium: Browser, info: dict[str, Any], images: list[Path]
) -> None:
    with served(Rest(info)) as url:
        chromium.open(url, width=DESK)
        chromium.wait("served !== null")
    ask_page(chromium, images[:1])
    assert chromium.run(REFERRALS) == {images[0].name: "the server does not answer"}
    assert (
        chromium.run("document.getElementById('trouble').textContent")
        == "No model: the server does not answer."
    )


def test_images_can_be_removed(chromium: Browser, url: str, images: list[Path]) -> None:
    chromium.open(url, width=DESK)
    ask_page(chromium, images[:2])
    chromium.run("document.getElementById('clear').click()")
    assert chromium.run("[images.length, document.querySelectorAll('#cards li').length]") == [0, 0]
    assert chromium.run(
        "document.getElementById('patients').hidden && document.getElementById('answers').hidden"
    )
    ask_page(chromium, images[:1])  # the same file again


def test_a_models_name_is_no_html() -> None:
    assert "<b>" not in render_page(model='"><b>')
