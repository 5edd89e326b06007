"""The SavedModel answers as the Keras model does, through both signatures."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline import features
from pipeline.models.decode_image import decode_images
from pipeline.models.export_model import export_model

SIZE = 16
CLASSES = ("ductal", "lobular")


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")]
    return keras.Sequential([keras.Input((SIZE, SIZE, 3)), *layers])


@pytest.fixture(scope="module")
def exported(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> tf.Module:
    folder = tmp_path_factory.mktemp("exported") / "model"
    export_model(model, folder, size=SIZE, classes=CLASSES)
    return tf.saved_model.load(str(folder))


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 46, 70, 3), dtype="uint8")
    return [tf.io.encode_png(one).numpy() for one in pixels]


def test_image_bytes_give_the_keras_models_probabilities(
    model: keras.Model, exported: tf.Module, images: list[bytes]
) -> None:
    answer = exported.signatures[features.SERVING_SIGNATURE](image=tf.constant(images))
    own = model.predict(decode_images(tf.constant(images), size=SIZE), verbose=0)
    np.testing.assert_allclose(answer[features.PROBABILITIES], own, atol=1e-6)
    np.testing.assert_allclose(answer[features.SCORE], own[:, 1], atol=1e-6)
    labels = [label.decode() for label in answer[features.PREDICTED_LABEL].numpy()]
    assert labels == [CLASSES[index] for index in own.argmax(axis=1)]
    assert answer[features.CLASSES].numpy().tolist() == [[b"ductal", b"lobular"]] * len(images)


def test_examples_give_the_same_as_image_bytes(exported: tf.Module, images: list[bytes]) -> None:
    records = []
    for image in images:
        example = tf.train.Example()
        example.features.feature[features.IMAGE].bytes_list.value.append(image)
        records.append(example.SerializeToString())
    by_example = exported.signatures[features.EXAMPLES_SIGNATURE](examples=tf.constant(records))
    by_image = exported.signatures[features.SERVING_SIGNATURE](image=tf.constant(images))
    np.testing.assert_array_equal(by_example[features.PROBABILITIES], by_image[features.PROBABILITIES])


def test_jpeg_is_taken_and_other_bytes_are_refused(exported: tf.Module, images: list[bytes]) -> None:
    serve = exported.signatures[features.SERVING_SIGNATURE]
    jpeg = tf.io.encode_jpeg(tf.io.decode_png(images[0])).numpy()
    assert np.isfinite(serve(image=tf.constant([jpeg]))[features.SCORE]).all()
    with pytest.raises(tf.errors.InvalidArgumentError):
        serve(image=tf.constant([b"not an image"]))
