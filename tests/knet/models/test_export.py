"""The SavedModel answers as the Keras model does, through all signatures."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import keras
import numpy as np
import pytest
import tensorflow as tf
from c_loader import compare_with_python
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)
from training_fixtures import build_hybrid

from knet.base import schema_names
from knet.base.image_scalars import image_scalars
from knet.client import Client
from knet.models import export
from knet.models.export import export_model, logits_and_embeddings, model_outputs
from knet.models.grad_cam import GradCam
from knet.models.hybrid import BACKBONE, PREPROCESSING
from knet.models.images import decode_images
from knet.models.out_of_distribution import ClassGaussians, ImageLimits, ImageMeasurements
from knet.serving.dev_server.server import DevServer
from knet.serving.models_config import config_folder, read_batching

pytestmark = pytest.mark.slow

SIZE = 32
CLASSES = ("ductal", "lobular")
TEMPERATURE, THRESHOLD = 0.5, 0.7
_RNG = np.random.default_rng(0)
GAUSSIANS = ClassGaussians.fit(_RNG.normal(size=(20, 8)), np.arange(20) % 2)
LIMITS = ImageLimits(min_tissue=0.1, min_sharpness=100.0, max_sharpness=40_000.0, max_distance=6.0)


def export_example(model: keras.Model, folder: Path, **settings: Any) -> None:
    export_model(
        model,
        folder,
        size=SIZE,
        classes=CLASSES,
        temperature=TEMPERATURE,
        threshold=THRESHOLD,
        gaussians=GAUSSIANS,
        limits=LIMITS,
        **settings,
    )


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return build_hybrid(
        "mobilenet",
        normalisation="image",
        stain_normalisation="macenko",
        stain_reference=(0.65, 0.70, 0.29, 0.07, 0.99, 0.11, 1.2, 0.8),
        lstm_units=4,
        dense_units=8,
    )


@pytest.fixture(scope="module")
def folder(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "7"
    export_example(model, folder)
    return folder


@pytest.fixture(scope="module")
def exported(folder: Path) -> tf.Module:
    return tf.saved_model.load(str(folder))


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 46, 70, 3), dtype="uint8")
    return [tf.io.encode_png(one).numpy() for one in pixels]


def test_serving_default_equals_the_calibrated_keras_model(
    model: keras.Model, exported: tf.Module, images: list[bytes]
) -> None:
    outputs = exported.signatures[schema_names.SERVING_SIGNATURE](image=tf.constant(images))
    own = model.predict(decode_images(tf.constant(images), size=SIZE), verbose=0)
    calibrated = own ** (1 / TEMPERATURE)
    calibrated /= calibrated.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(outputs[schema_names.PROBABILITIES], calibrated, atol=1e-6)
    np.testing.assert_allclose(outputs[schema_names.SCORE], calibrated[:, 1], atol=1e-6)
    assert outputs[schema_names.CLASSES].numpy().tolist() == [[b"ductal", b"lobular"]] * len(images)
    assert outputs[schema_names.THRESHOLD].numpy().tolist() == [np.float32(THRESHOLD)] * len(images)


def test_export_saves_each_variable_once(model: keras.Model, folder: Path) -> None:
    saved = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    shapes = [shape for shape in saved.get_variable_to_shape_map().values() if shape]
    assert sorted(shapes) == sorted(list(variable.shape) for variable in model.variables)


def test_export_traces_backbone_and_checks_once(
    model: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traces: list[str] = []

    def count_traces(name: str) -> None:
        function = getattr(export, name)

        def counted(*arguments: Any, **settings: Any) -> Any:
            traces.append(name)
            return function(*arguments, **settings)

        monkeypatch.setattr(export, name, counted)

    count_traces("decode_and_measure")
    count_traces("check_images")
    export_example(model, tmp_path)
    assert sorted(traces) == ["check_images", "decode_and_measure"]


def test_evaluation_calibration_and_export_share_one_trace_of_the_backbone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build_hybrid("mobilenet", lstm_units=4, dense_units=8)
    model.compile(loss="sparse_categorical_crossentropy")
    backbone = model.get_layer(BACKBONE)
    untraced, traces = backbone.call, []

    def counted(*arguments: Any, **settings: Any) -> Any:
        traces.append("backbone")
        return untraced(*arguments, **settings)

    monkeypatch.setattr(backbone, "call", counted)
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3)).astype("uint8")
    batches = tf.data.Dataset.from_tensor_slices((pixels, [0, 1, 0])).batch(2)
    model.evaluate(batches, verbose=0)
    outputs = model_outputs(model, {"validation": batches})["validation"]
    export_example(model, tmp_path)
    assert traces == ["backbone"]
    untraced_features = untraced(model.get_layer(PREPROCESSING)(pixels.astype("float32")), training=False)
    logits, _ = logits_and_embeddings(model)(untraced_features, training=False)
    np.testing.assert_allclose(outputs.logits, logits, atol=1e-6)


# Biases of the last layer that put every score below the threshold though above a half, or above both.
@pytest.mark.parametrize(("bias", "label"), [(0.25, b"ductal"), (1.0, b"lobular")])
def test_label_is_decided_by_the_threshold(
    model: keras.Model, exported: tf.Module, images: list[bytes], bias: float, label: bytes
) -> None:
    (last,) = (v for v in exported.variables if v.shape == (2,) and v.dtype.is_floating)
    kernel = next(v for v in exported.variables if v.shape == (8, 2))
    kept = last.numpy(), kernel.numpy()
    last.assign([0, bias])
    kernel.assign(tf.zeros_like(kernel))
    try:
        for signature in (schema_names.SERVING_SIGNATURE, schema_names.EXPLAIN_SIGNATURE):
            outputs = exported.signatures[signature](image=tf.constant(images))
            assert outputs[schema_names.SCORE].numpy().min() > 0.5
            assert set(outputs[schema_names.PREDICTED_LABEL].numpy()) == {label}
    finally:
        last.assign(kept[0])
        kernel.assign(kept[1])


def test_examples_equal_serving_default(exported: tf.Module, images: list[bytes]) -> None:
    records = []
    for image in images:
        example = tf.train.Example()
        example.features.feature[schema_names.IMAGE].bytes_list.value.append(image)
        records.append(example.SerializeToString())
    by_example = exported.signatures[schema_names.EXAMPLES_SIGNATURE](examples=tf.constant(records))
    by_image = exported.signatures[schema_names.SERVING_SIGNATURE](image=tf.constant(images))
    np.testing.assert_array_equal(
        by_example[schema_names.PROBABILITIES], by_image[schema_names.PROBABILITIES]
    )


def test_features_are_the_penultimate_layer(
    model: keras.Model, exported: tf.Module, images: list[bytes]
) -> None:
    embedding = exported.signatures[schema_names.FEATURES_SIGNATURE](image=tf.constant(images))[
        schema_names.EMBEDDING
    ]
    assert embedding.shape == (3, 8)
    logits = model.get_layer("head").get_layer("logits")(embedding)
    by_image = exported.signatures[schema_names.SERVING_SIGNATURE](image=tf.constant(images))
    np.testing.assert_allclose(
        tf.nn.softmax(logits / TEMPERATURE), by_image[schema_names.PROBABILITIES], atol=1e-6
    )


def test_explain_returns_the_label_of_its_heat_map(exported: tf.Module, images: list[bytes]) -> None:
    explained = exported.signatures[schema_names.EXPLAIN_SIGNATURE](image=tf.constant(images))
    by_image = exported.signatures[schema_names.SERVING_SIGNATURE](image=tf.constant(images))
    assert explained[schema_names.HEAT_MAP].shape == (3, 1, 1)
    for name in (schema_names.PREDICTED_LABEL, schema_names.SCORE):
        assert explained[name].numpy().tolist() == by_image[name].numpy().tolist()


def test_check_images_agrees_with_the_fitted_limits(exported: tf.Module, images: list[bytes]) -> None:
    rng = np.random.default_rng(1)
    textured = rng.integers(0, 120, (46, 70, 3), dtype="uint8").repeat(4, axis=0).repeat(4, axis=1)
    pixels = {
        "good": textured,
        "noise": np.asarray(rng.integers(0, 256, (90, 90, 3)), "uint8"),
        "white": np.full((50, 60, 3), 255, "uint8"),
        "black": np.zeros((50, 60, 3), "uint8"),
        "tiny": np.zeros((1, 2, 3), "uint8"),
    }
    encoded = tf.constant([tf.io.encode_png(one).numpy() for one in pixels.values()])
    outputs = exported.signatures[schema_names.SERVING_SIGNATURE](image=encoded)
    embeddings = exported.signatures[schema_names.FEATURES_SIGNATURE](image=encoded)[
        schema_names.EMBEDDING
    ].numpy()
    distances = GAUSSIANS.distances(embeddings)
    np.testing.assert_allclose(outputs[schema_names.DISTANCE], distances, rtol=1e-4)
    scalars = [image_scalars(one) for one in list(pixels.values())[:-1]]
    tissue, laplacian = (
        np.array([s[name] for s in scalars])
        for name in (schema_names.TISSUE_FRACTION, schema_names.LAPLACIAN)
    )
    measured = ImageMeasurements(tissue, laplacian, distances[:-1])
    in_distribution = outputs[schema_names.IN_DISTRIBUTION].numpy()
    assert (~in_distribution[:-1]).tolist() == LIMITS.rejects(measured).tolist()
    reasons = {
        name: {reason.decode() for reason in row if reason}
        for name, row in zip(pixels, outputs[schema_names.REASONS].numpy(), strict=True)
    }
    assert all(
        bool(found) != accepted for found, accepted in zip(reasons.values(), in_distribution, strict=True)
    )
    assert not reasons["good"] & {schema_names.LITTLE_TISSUE, schema_names.BLURRED, schema_names.NOISY}
    assert schema_names.NOISY in reasons["noise"]
    assert {schema_names.LITTLE_TISSUE, schema_names.BLURRED} <= reasons["white"]
    assert schema_names.BLURRED in reasons["black"] and schema_names.BLURRED in reasons["tiny"]


@pytest.mark.parametrize(
    ("mode", "kind", "size", "reason"),
    [
        ("L", "PNG", (40, 40), schema_names.NOT_RGB),
        ("I;16", "PNG", (40, 40), schema_names.NOT_RGB),
        ("L", "JPEG", (40, 40), schema_names.NOT_RGB),
        ("CMYK", "JPEG", (40, 40), schema_names.NOT_RGB),
        ("RGB", "PNG", (1, 1), schema_names.TOO_SMALL),
        ("RGB", "JPEG", (400, 31), schema_names.TOO_SMALL),
    ],
)
def test_serving_default_flags_images_that_ingestion_refuses(
    exported: tf.Module,
    images: list[bytes],
    picture: Callable[..., bytes],
    mode: str,
    kind: str,
    size: tuple[int, int],
    reason: str,
) -> None:
    batch = tf.constant([images[0], picture(mode, kind, size)])
    outputs = exported.signatures[schema_names.SERVING_SIGNATURE](image=batch)
    usual, flagged = ({*row} for row in outputs[schema_names.REASONS].numpy())
    assert reason.encode() in flagged and not outputs[schema_names.IN_DISTRIBUTION].numpy()[1]
    assert not usual & {schema_names.NOT_RGB.encode(), schema_names.TOO_SMALL.encode()}


def test_serving_default_accepts_jpeg(exported: tf.Module, images: list[bytes]) -> None:
    jpeg = tf.io.encode_jpeg(tf.io.decode_png(images[0])).numpy()
    outputs = exported.signatures[schema_names.SERVING_SIGNATURE](image=tf.constant([jpeg]))
    assert np.isfinite(outputs[schema_names.SCORE]).all()


@pytest.mark.parametrize("signature", ["serving_default", "features", "explain"])
@pytest.mark.parametrize(
    ("kind", "part", "message"),
    [
        ("GIF", 1.0, "must be PNG or JPEG"),
        ("BMP", 1.0, "must be PNG or JPEG"),
        ("TIFF", 1.0, "must be PNG or JPEG"),
        ("PNG", 0.0, "must be PNG or JPEG"),
        ("PNG", 0.5, "Invalid PNG"),
        ("JPEG", 0.5, "Invalid JPEG data"),
    ],
)
def test_signatures_refuse_other_formats_and_truncated_files(
    exported: tf.Module, picture: Callable[..., bytes], signature: str, kind: str, part: float, message: str
) -> None:
    whole = picture(kind=kind)
    encoded = whole[: int(part * len(whole))]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        exported.signatures[signature](image=tf.constant([encoded]))


def _png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


def _jpeg_header(width: int, height: int) -> bytes:
    frame = struct.pack(">HBHHB", 17, 8, height, width, 3) + b"\1\x11\0\2\x11\0\3\x11\0"
    scan = struct.pack(">HB", 12, 3) + b"\1\0\2\0\3\0\0\x3f\0"
    return b"\xff\xd8\xff\xc0" + frame + b"\xff\xda" + scan


@pytest.mark.parametrize("header", [_png_header, _jpeg_header])
@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (64_001, 1_000), (8_001, 8_000)])
def test_oversized_image_is_refused_before_decoding(
    exported: tf.Module, header: Callable[[int, int], bytes], width: int, height: int
) -> None:
    # Nothing follows the header, so that decoding would say something else.
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 64000000 pixels"):
        exported.signatures["serving_default"](image=tf.constant([header(width, height)]))


def test_max_pixels_of_the_export_is_the_limit(
    model: keras.Model, tmp_path: Path, images: list[bytes]
) -> None:
    export_example(model, tmp_path / "1", max_pixels=70 * 46)
    predict = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    assert predict(image=tf.constant(images))[schema_names.SCORE].shape == (3,)
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"at most {70 * 46} pixels"):
        predict(image=tf.constant([_png_header(71, 46)]))


@pytest.mark.parametrize("sides", [(2**32 - 1, 2**32 - 1), (2**31, 1)])
def test_image_sides_that_overflow_are_refused(exported: tf.Module, sides: tuple[int, int]) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 64000000 pixels"):
        exported.signatures["serving_default"](image=tf.constant([_png_header(*sides)]))


def test_classify_equals_serving_default(exported: tf.Module, folder: Path, images: list[bytes]) -> None:
    example = tf.train.Example()
    example.features.feature[schema_names.IMAGE].bytes_list.value.append(images[0])
    classified = exported.signatures[schema_names.CLASSIFY_SIGNATURE](
        inputs=tf.constant([example.SerializeToString()])
    )
    by_image = exported.signatures[schema_names.SERVING_SIGNATURE](image=tf.constant(images[:1]))
    assert classified["classes"].numpy().tolist() == by_image[schema_names.CLASSES].numpy().tolist()
    np.testing.assert_array_equal(classified["scores"], by_image[schema_names.PROBABILITIES])
    saved_model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    (graph,) = saved_model.meta_graphs
    methods = {name: definition.method_name for name, definition in graph.signature_def.items()}
    assert methods[schema_names.CLASSIFY_SIGNATURE] == "tensorflow/serving/classify"
    assert methods[schema_names.EXAMPLES_SIGNATURE] == "tensorflow/serving/predict"


def test_dev_server_lists_and_answers_every_signature(folder: Path, images: list[bytes]) -> None:
    with DevServer(folder.parent, port=0) as server, grpc.insecure_channel(server.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        spec = {"name": schema_names.MODEL_NAME}
        reply = stub.GetModelMetadata(
            get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"])
        )
        listed = get_model_metadata_pb2.SignatureDefMap()
        reply.metadata["signature_def"].Unpack(listed)
        assert {"serving_default", "examples", "classify", "features", "explain"} <= set(listed.signature_def)
        outputs = stub.Predict(
            predict_pb2.PredictRequest(
                model_spec={**spec, "signature_name": "explain"},
                inputs={schema_names.SERVING_INPUT: tf.make_tensor_proto(images)},
            )
        )
        assert set(outputs.outputs) == {
            schema_names.HEAT_MAP,
            schema_names.PREDICTED_LABEL,
            schema_names.SCORE,
        }


def test_client_reads_the_served_outputs(folder: Path, exported: tf.Module, images: list[bytes]) -> None:
    direct = exported.signatures[schema_names.SERVING_SIGNATURE](image=tf.constant(images))
    heat = exported.signatures[schema_names.EXPLAIN_SIGNATURE](image=tf.constant(images))[
        schema_names.HEAT_MAP
    ]
    with DevServer(folder.parent, port=0) as server, Client(server.address) as client:
        predictions, explanations = client.predict(images), client.explain(images)
    np.testing.assert_allclose([one.score for one in predictions], direct[schema_names.SCORE], atol=1e-6)
    np.testing.assert_allclose([one.heat_map for one in explanations], heat, atol=1e-6)
    assert [one.label for one in explanations] == [one.label for one in predictions]
    assert {one.threshold for one in predictions} == {float(np.float32(THRESHOLD))}
    in_distribution = direct[schema_names.IN_DISTRIBUTION].numpy().tolist()
    assert [one.in_distribution for one in predictions] == in_distribution


def test_warm_up_requests_cover_batch_sizes_and_signatures(folder: Path, exported: tf.Module) -> None:
    file = folder / "assets.extra" / "tf_serving_warmup_requests"
    rows: dict[str, list[int]] = {}
    for record in tf.data.TFRecordDataset([str(file)]).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        assert request.model_spec.name == "knet"
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        outputs = exported.signatures[request.model_spec.signature_name](**inputs)
        (size,) = {value.shape[0] for value in outputs.values()}
        rows.setdefault(request.model_spec.signature_name, []).append(size)
    batching = read_batching(config_folder() / "batching_parameters.txt")
    assert rows.pop("serving_default") == list(batching.allowed_batch_sizes)
    assert rows == {name: [1] for name in ("explain", "features", "examples", "classify")}


def test_cpp_loader_answers_as_python(folder: Path, images: list[bytes], tmp_path: Path) -> None:
    """TF Serving loads models by the C++ loader that TensorFlow's C API uses."""
    jpeg = tf.io.encode_jpeg(tf.io.decode_png(images[0])).numpy()
    example = tf.train.Example()
    example.features.feature[schema_names.IMAGE].bytes_list.value.append(jpeg)
    requests = [
        *((name, [*images, jpeg]) for name in ("serving_default", "explain", "features")),
        *((name, [example.SerializeToString()] * 2) for name in ("examples", "classify")),
    ]
    assert compare_with_python(folder, requests, work=tmp_path) == len(requests) + 14  # warm-up requests


def test_model_outputs_equal_the_model_in_order(
    tiny_hybrid: Callable[[int], keras.Model],
) -> None:
    model = tiny_hybrid(32)
    pixels = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype="uint8")
    labels = np.arange(7) % 2
    batches = tf.data.Dataset.from_tensor_slices((pixels, labels)).batch(3)
    found = model_outputs(model, {"all": batches, "first": batches.take(1)})["all"]
    assert found.labels.tolist() == labels.tolist()
    own = model.predict(pixels, verbose=0)
    np.testing.assert_allclose(tf.nn.softmax(found.logits), own, atol=1e-6)
    assert found.embeddings.shape == (7, 8)
    from_embeddings = model.get_layer("head").get_layer("logits")(found.embeddings)
    np.testing.assert_allclose(from_embeddings, found.logits, atol=1e-5)


def test_outputs_for_two_classes_are_the_recorded_ones(
    exported: tf.Module, images: list[bytes], two_classes: Any
) -> None:
    for signature, expected in two_classes["export"].items():
        outputs = exported.signatures[signature](image=tf.constant(images))
        assert outputs.keys() == expected.keys()
        for name, values in expected.items():
            found = outputs[name].numpy()
            if found.dtype == object:
                assert np.char.decode(found.astype(bytes)).tolist() == values, name
            else:
                np.testing.assert_allclose(found, values, rtol=1e-4, err_msg=name)


FOUR = ("adenosis", "fibroadenoma", "ductal_carcinoma", "lobular_carcinoma")


@pytest.fixture(scope="module")
def model_of_four() -> keras.Model:
    return build_hybrid("mobilenet", classes=4, normalisation="image", lstm_units=4, dense_units=8)


@pytest.fixture(scope="module")
def exported_four(model_of_four: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> tf.Module:
    folder = tmp_path_factory.mktemp("exported") / "four"
    gaussians = ClassGaussians.fit(_RNG.normal(size=(20, 8)), np.arange(20) % 4)
    export_model(
        model_of_four,
        folder,
        size=SIZE,
        classes=FOUR,
        temperature=TEMPERATURE,
        threshold=THRESHOLD,
        gaussians=gaussians,
        limits=LIMITS,
        positive=(2, 3),
    )
    return tf.saved_model.load(str(folder))


def test_serving_default_of_four_classes_predicts_the_likeliest(
    model_of_four: keras.Model, exported_four: tf.Module, images: list[bytes]
) -> None:
    outputs = exported_four.signatures[schema_names.SERVING_SIGNATURE](image=tf.constant(images))
    outputs = {name: value.numpy() for name, value in outputs.items()}
    own = model_of_four.predict(decode_images(tf.constant(images), size=SIZE), verbose=0) ** (1 / TEMPERATURE)
    probabilities = outputs[schema_names.PROBABILITIES]
    np.testing.assert_allclose(probabilities, own / own.sum(axis=1, keepdims=True), atol=1e-6)
    likeliest = probabilities.argmax(axis=1)
    assert outputs[schema_names.PREDICTED_LABEL].tolist() == [FOUR[label].encode() for label in likeliest]
    np.testing.assert_array_equal(outputs[schema_names.SCORE], probabilities.max(axis=1))
    np.testing.assert_allclose(
        outputs[schema_names.POSITIVE_SCORE], probabilities[:, 2:].sum(axis=1), atol=1e-6
    )
    assert outputs[schema_names.THRESHOLD].tolist() == [np.float32(THRESHOLD)] * len(images)
    assert outputs[schema_names.CLASSES].tolist() == [[name.encode() for name in FOUR]] * len(images)


def test_explain_of_four_classes_is_of_the_predicted_one(
    model_of_four: keras.Model, exported_four: tf.Module, images: list[bytes]
) -> None:
    explained = exported_four.signatures[schema_names.EXPLAIN_SIGNATURE](image=tf.constant(images))
    feature_map = model_of_four.extract_features(
        tf.cast(decode_images(tf.constant(images), size=SIZE), tf.float32)
    )
    label = model_of_four.get_layer("head")(feature_map, training=False).numpy().argmax(axis=1)
    expected = GradCam(model_of_four)(feature_map, tf.constant(label, tf.int32))
    np.testing.assert_allclose(explained[schema_names.HEAT_MAP], expected, atol=1e-5)
    assert explained[schema_names.PREDICTED_LABEL].numpy().tolist() == [FOUR[one].encode() for one in label]


def test_classify_of_four_classes_has_all_of_them(exported_four: tf.Module, images: list[bytes]) -> None:
    example = tf.train.Example()
    example.features.feature[schema_names.IMAGE].bytes_list.value.append(images[0])
    outputs = exported_four.signatures[schema_names.CLASSIFY_SIGNATURE](
        inputs=tf.constant([example.SerializeToString()])
    )
    assert outputs["classes"].numpy().tolist() == [[name.encode() for name in FOUR]]
    assert outputs["scores"].numpy().sum() == pytest.approx(1, abs=1e-6)
