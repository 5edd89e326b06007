"""Writes the images of a BreaKHis folder as TFRecords, one set of files a split."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import tensorflow as tf
from PIL import Image
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components.breakhis_example_gen.catalog import UNREADABLE, read_catalog
from components.breakhis_example_gen.image_file import ImageFile
from components.breakhis_example_gen.splits.make_split import make_split
from pipeline import features
from pipeline.errors import UserError


class Executor(base_beam_executor.BaseBeamExecutor):
    """Catalog and split are made here; images are read inside the Beam workers."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `Split-<name>/` folders of gzipped tf.train.Examples, and the frozen split."""
        catalog = read_catalog(
            Path(exec_properties["data_source"]),
            keep_duplicate_slides=bool(exec_properties["keep_duplicate_slides"]),
        )
        made = make_split(catalog.images, **json.loads(exec_properties["split"]))
        artifact_utils.get_single_instance(output_dict["splits"]).value = made.frozen()
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        examples.split_names = artifact_utils.encode_split_names(list(features.SPLITS))
        examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
        with self._make_beam_pipeline() as pipeline:
            for split in features.SPLITS:
                images = [image for image in catalog.images if made.assignment[image.patient] == split]
                # On disk in an order of no meaning, as a training that shuffles in a window needs it.
                random.Random(exec_properties["seed"]).shuffle(images)
                _ = (
                    pipeline
                    | f"Images[{split}]" >> beam.Create(images)
                    # Names go to the workers, and are read there: contents are far larger.
                    | f"Spread[{split}]" >> beam.Reshuffle()
                    | f"Read[{split}]" >> beam.Map(_reader(catalog.root, split))
                    | f"Write[{split}]"
                    >> beam.io.WriteToTFRecord(
                        f"{examples.uri}/Split-{split}/data_tfrecord", file_name_suffix=".gz"
                    )
                )


def _reader(root: Path, split: str) -> Callable[[ImageFile], bytes]:
    def read(image: ImageFile) -> bytes:
        example = to_example(image, content=(root / image.path).read_bytes(), split=split)
        return example.SerializeToString(deterministic=True)  # the same image gives the same record

    return read


def to_example(image: ImageFile, *, content: bytes, split: str) -> tf.train.Example:
    """One image as a tf.train.Example with the features named in `pipeline.features`.

    Raises:
        UserError: the content is not a whole image; the text names the file.
    """
    try:
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
            width, height = picture.size
    except UNREADABLE as error:
        raise UserError(f"{image.path}: cannot be decoded ({error}); replace or remove the file") from None
    numbers = {
        features.LABEL: features.CLASSES.index(image.label),
        features.WIDTH: width,
        features.HEIGHT: height,
    }
    texts = {
        features.PATH: image.path,
        features.PATIENT: image.patient,
        features.SPLIT: split,
        **dict(image.columns),
    }
    example = tf.train.Example()
    feature = example.features.feature
    feature[features.IMAGE].bytes_list.value.append(content)
    for name, number in numbers.items():
        feature[name].int64_list.value.append(number)
    for name, text in texts.items():
        feature[name].bytes_list.value.append(text.encode())
    return example
