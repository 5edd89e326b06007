"""Tests of TF Serving's JSON over HTTP, and of the web page in a browser."""

from __future__ import annotations

import base64
import json
import math
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browser import Browser
from fake_rest_server import FakeRest, served

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
def test_predict_rows(ask: Ask, image: dict[str, str], path: str) -> None:
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


def test_predict_columns(ask: Ask, image: dict[str, str]) -> None:
    for inputs in ([image, image], {"image": [image, image]}):
        outputs = ask("knet:predict", {"inputs": inputs})["outputs"]
        assert outputs["score"] == [0.2, 0.2] and outputs["classes"] == [["benign", "malignant"]] * 2


def test_predict_single_output_has_no_name(ask: Ask) -> None:
    assert ask("knet:predict", {"signature_name": "double", "inputs": [1, 2.5]}) == {"outputs": [2.0, 5.0]}
    row = {"signature_name": "double", "instances": [1, 2.5]}
    assert ask("knet:predict", row) == {"predictions": [2.0, 5.0]}


def test_predict_several_inputs(ask: Ask) -> None:
    rows = [{"a": [1, 2], "b": [3, 4]}, {"a": [5, 6], "b": [7, 8]}]
    expected = [
        {"sum": [4.0, 6.0], "name_bytes": {"b64": "/w=="}},
        {"sum": [12.0, 14.0], "name_bytes": {"b64": "/w=="}},
    ]
    assert ask("knet:predict", {"signature_name": "add", "instances": rows}) == {"predictions": expected}
    columns = {name: [row[name] for row in rows] for name in ("a", "b")}
    outputs = ask("knet:predict", {"signature_name": "add", "inputs": columns})["outputs"]
    assert outputs["sum"] == [[4.0, 6.0], [12.0, 14.0]]


def test_predict_integers(ask: Ask) -> None:
    assert ask("knet:predict", {"signature_name": "count", "instances": [1, 254]}) == {
        "predictions": [2, 255]
    }


def test_predict_nan_and_infinity(ask: Ask) -> None:
    body = {"signature_name": "double", "inputs": [math.nan, -math.inf]}
    outputs = ask("knet:predict", body)["outputs"]
    assert math.isnan(outputs[0]) and outputs[1] == -math.inf


def test_classify_example(ask: Ask, image: dict[str, str]) -> None:
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
def test_status_of_a_version(ask: Ask, path: str) -> None:
    status = {"error_code": "OK", "error_message": ""}
    assert ask(path) == {"model_version_status": [{"version": "7", "state": "AVAILABLE", "status": status}]}


def test_metadata_has_the_default_values_of_tf_serving(ask: Ask) -> None:
    tree = ask("knet/metadata")
    assert tree["model_spec"] == {"name": "knet", "version": "7", "signature_name": ""}
    signatures = tree["metadata"]["signature_def"]["signature_def"]
    assert signatures["classify"]["method_name"] == "tensorflow/serving/classify"
    x = signatures["double"]["inputs"]["x"]
    shape = {"dim": [{"size": "2", "name": ""}], "unknown_rank": False}
    assert x == {"name": x["name"], "dtype": "DT_FLOAT", "tensor_shape": shape}


@pytest.mark.parametrize("path", ["V1/MODELS/knet", "v1/Models/knet/Versions/7", "v1/models/knet/METADATA"])
def test_path_in_capitals_is_the_status(server: DevServer, ask: Ask, path: str) -> None:
    with urllib.request.urlopen(f"http://{server.rest_address}/{path}") as reply:
        assert json.load(reply) == ask("knet")  # the name `metadata` itself has regard to case


def test_path_with_escapes_is_decoded(server: DevServer, ask: Ask) -> None:
    with urllib.request.urlopen(f"http://{server.rest_address}/v1/models/%6Bnet") as reply:
        assert json.load(reply) == ask("knet")


def test_path_without_a_model_is_refused(server: DevServer) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"http://{server.rest_address}/v1/models")
    assert caught.value.code == 400
    assert json.load(caught.value) == {"error": "Missing model name in request."}


def test_page_is_at_the_root(server: DevServer) -> None:
    with urllib.request.urlopen(f"http://{server.rest_address}/") as reply:
        assert reply.status == 200 and reply.read()


def test_card_is_that_of_the_newest_version(server: DevServer) -> None:
    with urllib.request.urlopen(f"http://{server.rest_address}/card") as reply:
        assert json.load(reply) == {"version": 7, "candidate": "tiny"}


pytestmark = pytest.mark.browser
PHONE, DESKTOP = 390, 1280
LABELS = "[...document.querySelectorAll('#cards .label')].map(e => e.textContent)"
REFERRALS = (
    "Object.fromEntries([...document.querySelectorAll('#cards li')]"
    ".map(li => [li.querySelector('.name').textContent, li.querySelector('.referral').dataset.referral]))"
)
ROWS = "[...document.querySelectorAll('#patient-rows tr')].map(row => [...row.cells].map(c => c.textContent))"
REASONS = (
    "Object.fromEntries([...document.querySelectorAll('#cards li')]"
    ".map(li => [li.querySelector('.name').textContent, li.querySelector('.referral').textContent]))"
)
PATIENT_REFERRALS = "[...document.querySelectorAll('#patient-rows tr')].map(row => row.dataset.referral)"
RETRY = "(b => b.hidden ? null : b.textContent)(document.getElementById('retry'))"
FOCUS = "document.activeElement.id || document.activeElement.className"


def classify(chromium: Browser, images: list[Path]) -> None:
    """Choose images and wait for the predictions."""
    chromium.choose("#files", images)
    chromium.wait(f"document.getElementById('progress').dataset.done === '{len(images)}'")


def test_page_loads_nothing_from_elsewhere(chromium: Browser, url: str) -> None:
    chromium.open(url, width=DESKTOP)
    chromium.wait("document.getElementById('served').dataset.version === '7'")
    assert chromium.requested == [url, f"{url}v1/models/knet", f"{url}card"]
    assert chromium.complaints == []
    notice = chromium.run("document.getElementById('notice').textContent")
    assert "development server" in notice and "not a medical device" in notice


def test_page_shows_a_prediction_or_an_error_per_image(
    chromium: Browser, url: str, rest: FakeRest, images: list[Path]
) -> None:
    chromium.open(url, width=DESKTOP)
    classify(chromium, images)
    assert chromium.run(REFERRALS) == {
        "SOB_M_DC-14-2523-200-001.png": "none",
        "SOB_M_DC-14-2523-200-002.png": "none",
        "SOB_B_A-14-22549AB-200-001.png": "none",
        "SOB_B_A-14-22549G-200-002.png": "near-threshold",
        "scan.jpg": "near-threshold",
        "black.png": "flagged",
        "notes.png": "failed",
    }
    reasons = chromium.run(REASONS)
    assert "little tissue" in reasons["black.png"] and "PNG or JPEG" in reasons["notes.png"]
    assert chromium.run(LABELS) == ["malignant"] * 2 + ["benign"] * 2 + [
        "malignant",
        "benign",
        "No prediction",
    ]
    progress = chromium.run("({...document.getElementById('progress').dataset})")
    assert progress == {"done": "7", "failed": "1"}
    sent = {request["instances"][0]["b64"] for request in rest.requests}
    assert sent == {base64.b64encode(image.read_bytes()).decode() for image in images[:-1]}
    assert {request["signature_name"] for request in rest.requests} == {"serving_default"}
    assert chromium.complaints == []


def test_page_referral_band_is_a_factor_of_three_in_odds(chromium: Browser, url: str) -> None:
    chromium.open(url, width=DESKTOP)
    for threshold in (0.05, 0.6, 0.95):
        limits = chromium.run(f"band({threshold})")
        low, middle, high = (p / (1 - p) for p in (limits["low"], threshold, limits["high"]))
        assert high / middle == pytest.approx(3) == middle / low
    assert chromium.run("[band(0), band(1)]") == [{"low": 0, "high": 0}, {"low": 1, "high": 1}]


def test_page_prefers_the_threshold_of_the_prediction(
    chromium: Browser, info: dict[str, Any], images: list[Path]
) -> None:
    with served(FakeRest(info, threshold=0.95)) as url:
        chromium.open(url, width=DESKTOP)
        classify(chromium, images[:1])  # 0.96, far above the threshold of the model card
        assert list(chromium.run(REFERRALS).values()) == ["near-threshold"]


THREE = ("fibroadenoma", "ductal", "lobular")
BARS = (
    "[...document.querySelectorAll('#cards li')].map(li => "
    "[...li.querySelectorAll('.class, .group-score')].map(e => e.textContent))"
)


def test_page_of_three_classes_shows_each_and_refers_close_ones(
    chromium: Browser, info: dict[str, Any], images: list[Path]
) -> None:
    calibration = {**info["calibration"], "threshold": None}
    card = {**info, "classes": THREE, "calibration": calibration}
    with served(FakeRest(card, classes=THREE)) as url:
        chromium.open(url, width=PHONE)
        classify(chromium, images)
        assert chromium.run(LABELS)[1:4] == ["ductal", "fibroadenoma", "fibroadenoma"]
        assert chromium.run(BARS)[1] == ["fibroadenoma 0.096", "ductal 0.723", "lobular 0.181"]
        assert list(chromium.run(REFERRALS).values()) == [
            *("none", "none", "none", "near-class", "none", "flagged", "failed")
        ]
        assert chromium.run(REASONS)[images[3].name] == "Refer to a pathologist: ductal is nearly as likely"
        rows = {row[0]: row for row in chromium.run(ROWS)}
        assert len(rows["14-2523"]) == 5 and rows["14-2523"][1:3] == ["ductal", "0.747"]
        assert rows["14-22549"][4] == "Refer: ductal is nearly as likely"
        assert not chromium.run("[...document.querySelectorAll('.probability')].some(bar => !bar.hidden)")
        assert "positive" not in chromium.run("document.body.innerText")
        assert (chromium.complaints, chromium.faint) == ([], [])
        assert chromium.needed_width <= PHONE


def test_page_of_a_positive_group_shows_its_decision(
    chromium: Browser, info: dict[str, Any], images: list[Path]
) -> None:
    card = {**info, "classes": THREE, "positive": THREE[1:]}
    with served(FakeRest(card, classes=THREE, positive=THREE[1:], threshold=0.6)) as url:
        chromium.open(url, width=PHONE)
        classify(chromium, images)
        assert [bars[-1:] for bars in chromium.run(BARS)][:3] == [
            ["Positive group 0.963: positive"],
            ["Positive group 0.904: positive"],
            ["Positive group 0.139: negative"],
        ]
        assert list(chromium.run(REFERRALS).values())[:5] == ["none"] * 3 + ["near-threshold"] * 2
        rows = {row[0]: row for row in chromium.run(ROWS)}
        assert rows["14-2523"][1:4] == ["ductal", "0.747", "0.933, positive"]
        chromium.run("document.querySelector('details').open = true")
        text = chromium.run("document.body.innerText")
        assert "The positive group is ductal, lobular" in text
        chromium.run("document.getElementById('card-button').click()")
        chromium.wait("document.getElementById('card').open")
        card_text = chromium.run("document.getElementById('card').innerText")
        assert "probabilities of ductal and lobular add up to at least 0.600" in card_text
        assert (chromium.complaints, chromium.faint) == ([], [])
        assert chromium.needed_width <= PHONE


def test_page_aggregates_patients_by_accession(
    chromium: Browser, url: str, rest: FakeRest, images: list[Path]
) -> None:
    chromium.open(url, width=DESKTOP)
    chromium.run("document.getElementById('patient').value = '14-9 é'")
    classify(chromium, images)
    rows = chromium.run(ROWS)
    assert [[*row[:2], row[3]] for row in rows] == [
        ["14-22549", "benign", "1 of 2"],
        ["14-2523", "malignant", "0 of 2"],
        ["14-9 é", "benign", "2 of 2"],
    ]
    assert chromium.run(PATIENT_REFERRALS) == ["none", "none", "near-threshold flagged"]
    assert "1 of 2" in rows[2][4]  # flagged predictions
    assert rest.patients == {"14-22549", "14-2523", "14-9%20%C3%A9"}
    means = chromium.run("patients().map(patient => patient.mean)")
    scores = chromium.run("images.map(image => image.prediction?.score)")
    assert means == pytest.approx([(scores[2] + scores[3]) / 2, (scores[0] + scores[1]) / 2, scores[4] / 2])


def test_page_heat_map_covers_its_image(
    chromium: Browser, url: str, rest: FakeRest, images: list[Path]
) -> None:
    chromium.open(url, width=DESKTOP)
    classify(chromium, images[:2])
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
    explained = [request for request in rest.requests if request["signature_name"] == "explain"]
    assert len(explained) == 2  # a heat map that was loaded is not requested again


def test_page_works_by_keyboard(chromium: Browser, url: str, images: list[Path]) -> None:
    chromium.open(url, width=DESKTOP)
    classify(chromium, images[:1])
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


def test_page_model_card_describes_the_model(chromium: Browser, url: str, info: dict[str, Any]) -> None:
    chromium.open(url, width=DESKTOP)
    chromium.run("document.getElementById('card-button').click()")
    chromium.wait("document.getElementById('card').open")
    text = chromium.run("document.getElementById('card').innerText")
    for part in (
        "Not a medical device", "mobilenet", "version 7", "1,234,567 parameters", "Intended use", "Limits",
        "at least 0.600", info["fingerprint"], info["split_sha256"], "Licence",
    ):  # fmt: skip
        assert part in text


@pytest.mark.parametrize(
    ("width", "dark"), [(PHONE, False), (PHONE, True), (DESKTOP, False), (DESKTOP, True)],
    ids=["phone", "dark phone", "desktop", "dark desktop"],
)  # fmt: skip
def test_page_fits_the_screen_with_readable_text(
    chromium: Browser, url: str, images: list[Path], width: int, dark: bool
) -> None:
    chromium.open(url, width=width, dark=dark)
    classify(chromium, images)
    background = chromium.run("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") is not dark
    assert (chromium.faint, chromium.complaints) == ([], [])
    assert chromium.needed_width <= width
    chromium.run("document.getElementById('card-button').click()")
    chromium.wait("document.getElementById('card').open")
    assert chromium.faint == []


def test_page_marks_models_of_synthetic_data(chromium: Browser, info: dict[str, Any]) -> None:
    with served(FakeRest({**info, "synthetic_data": True})) as url:
        chromium.open(url, width=DESKTOP)
        chromium.wait("!document.getElementById('synthetic').hidden")


def test_page_without_threshold_refers_flagged_images_only(chromium: Browser, images: list[Path]) -> None:
    with served(FakeRest(None)) as url:
        chromium.open(url, width=DESKTOP)
        classify(chromium, images[3:6])
        assert list(chromium.run(REFERRALS).values()) == ["none", "none", "flagged"]
        assert {row[1] for row in chromium.run(ROWS)} == {"none: the model has no threshold"}


def test_page_asks_for_a_required_token(chromium: Browser, info: dict[str, Any], images: list[Path]) -> None:
    rest = FakeRest(info, token="secret")
    with served(rest) as url:
        chromium.open(url, width=DESKTOP)
        chromium.wait("!document.getElementById('token-form').hidden")
        chromium.choose("#files", images[:1])
        for code, trouble in (("", "requires an access code"), ("wrong", "does not accept this access code")):
            chromium.run(f"document.getElementById('token').value = '{code}'")
            chromium.run("document.getElementById('token-form').requestSubmit()")
            chromium.wait(f"document.getElementById('trouble').textContent.includes('{trouble}')")
        assert (chromium.run(LABELS), rest.requests) == (["waiting for the access code"], [])
        chromium.run("document.getElementById('token').value = 'secret'")
        chromium.run("document.getElementById('token-form').requestSubmit()")
        chromium.wait("document.getElementById('progress').dataset.done === '1'")
        assert chromium.run(LABELS) == ["malignant"]
        assert chromium.run("document.getElementById('token-form').hidden")


def test_page_names_a_stopped_server(chromium: Browser, info: dict[str, Any], images: list[Path]) -> None:
    with served(FakeRest(info)) as url:
        chromium.open(url, width=DESKTOP)
        chromium.wait("served !== null")
    classify(chromium, images[:1])
    assert chromium.run(REASONS) == {images[0].name: "the server does not answer"}
    assert (
        chromium.run("document.getElementById('trouble').textContent")
        == "No results: the server does not answer."
    )


def test_page_retry_button_asks_again(chromium: Browser, info: dict[str, Any], images: list[Path]) -> None:
    rest = FakeRest(info)
    with served(rest) as url:
        chromium.open(url, width=DESKTOP)
        chromium.wait("served !== null")
        rest.broken = True
        classify(chromium, [*images[:2], images[-1]])
        assert chromium.run(RETRY) == "Try 2 again"  # not the file that is no image
        assert chromium.run(REASONS)[images[0].name] == "the queue is full"
        rest.broken = False
        chromium.run("document.getElementById('retry').click()")
        chromium.wait(f"{LABELS}[0] === 'malignant' && {LABELS}[1] === 'malignant'")
        chromium.wait("document.getElementById('progress').dataset.failed === '1'")
        assert (chromium.run(LABELS)[2], chromium.run(RETRY)) == ("No prediction", None)


def test_page_says_that_a_heat_map_is_empty(
    chromium: Browser, info: dict[str, Any], images: list[Path]
) -> None:
    with served(FakeRest(info, heat=0)) as url:
        chromium.open(url, width=DESKTOP)
        classify(chromium, images[:1])
        chromium.run("document.querySelector('button.heat').click()")
        chromium.wait("document.querySelector('button.heat').getAttribute('aria-pressed') === 'true'")
        text = chromium.run("document.querySelector('button.heat').textContent")
        assert text == "Heat map: no region supports malignant"
        assert chromium.run("document.querySelector('#cards canvas').hidden")
        chromium.run("document.querySelector('button.heat').click()")
        assert chromium.run("document.querySelector('button.heat').textContent") == "Heat map"


def test_page_landmarks_have_names_of_their_own(chromium: Browser, url: str, images: list[Path]) -> None:
    chromium.open(url, width=DESKTOP)
    classify(chromium, images)
    names = chromium.run(
        "[...document.querySelectorAll('section, [role=region], nav, main')].map(e => e.ariaLabel"
        " ?? document.getElementById(e.getAttribute('aria-labelledby'))?.textContent ?? e.tagName)"
    )
    assert sorted(names) == ["Images", "MAIN", "Patients", "Predictions"]


def test_page_removes_images(chromium: Browser, url: str, images: list[Path]) -> None:
    chromium.open(url, width=DESKTOP)
    classify(chromium, images[:2])
    chromium.run("document.getElementById('clear').click()")
    assert chromium.run("[images.length, document.querySelectorAll('#cards li').length]") == [0, 0]
    assert chromium.run(
        "document.getElementById('patients').hidden && document.getElementById('predictions').hidden"
    )
    classify(chromium, images[:1])  # the same file again


def test_render_page_escapes_the_model_name() -> None:
    assert "<b>" not in render_page(model='"><b>')
