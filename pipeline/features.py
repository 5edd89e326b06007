"""Names, types and classes of everything that flows through the graph."""

from typing import Final

# Classes, in the order of the softmax outputs; the index is the label.
CLASSES: Final = ("benign", "malignant")
POSITIVE_CLASS: Final = "malignant"

# Features of an ingested example.
IMAGE: Final = "image/encoded"  # bytes: the image file as it stood on disk
LABEL: Final = "label"  # int64: index into CLASSES
PATH: Final = "image/path"  # bytes: path below the data folder, with forward slashes
WIDTH: Final = "image/width"  # int64, pixels
HEIGHT: Final = "image/height"  # int64, pixels
PATIENT: Final = "patient"  # bytes: accession with its year, such as 14-22549; never split between sets
SLIDE: Final = "slide"  # bytes: such as 14-22549AB
SUBTYPE: Final = "subtype"  # bytes: such as ductal_carcinoma
MAGNIFICATION: Final = "magnification"  # bytes: 40X, 100X, 200X or 400X
SPLIT: Final = "split"  # bytes: train, validation or test

SPLITS: Final = ("train", "validation", "test")

# Features of a transformed example.
PIXELS: Final = "pixels"  # bytes: tf.io.serialize_tensor of uint8 [size, size, 3]
PIXEL_MEAN: Final = (
    "pixel_mean"  # float32 [3]: RGB means of the train split, 0 to 255, the same in every example
)
PIXEL_STD: Final = "pixel_std"  # float32 [3]: RGB standard deviations of the train split, likewise

# The served model.
MODEL_NAME: Final = "knet"
SERVING_SIGNATURE: Final = "serving_default"
EXAMPLES_SIGNATURE: Final = "examples"
SERVING_INPUT: Final = "image"  # string [batch]: PNG or JPEG bytes
PROBABILITIES: Final = "probabilities"  # float32 [batch, len(CLASSES)]
PREDICTED_LABEL: Final = "label"  # string [batch]: the class with the highest probability
SCORE: Final = "score"  # float32 [batch]: probability of POSITIVE_CLASS
