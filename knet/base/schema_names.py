"""Names and types of features, prediction columns, signatures and their tensors."""

from __future__ import annotations

from typing import Final

# Features of an ingested example.
IMAGE: Final = "image/encoded"  # bytes: content of the image file, unchanged
LABEL: Final = "label"  # int64: index into the configured classes; 1 is the positive one of two
PATH: Final = "image/path"  # bytes: path below the data folder, with forward slashes
WIDTH: Final = "image/width"  # int64, pixels
HEIGHT: Final = "image/height"  # int64, pixels
PATIENT: Final = "patient"  # bytes: the group that is never split between sets
SPLIT: Final = "split"  # bytes: train, validation or test
# Beside these, one bytes feature for each further column of the catalog; for BreaKHis slide (14-22549AB),
# subtype (ductal_carcinoma), magnification (40X, 100X, 200X or 400X), year and sequence.

# Two of the scalars below, which a served model checks too.
TISSUE_FRACTION: Final = "image/tissue_fraction"  # 0 to 1
# Variance of the Laplacian of the grey image: low where the image is blurred.
LAPLACIAN: Final = "image/laplacian"

# float32 scalars of the pixels, which TFDV can validate; it cannot validate images.
IMAGE_SCALARS: Final = (
    "image/mean_red",  # means and standard deviations: 0 to 255
    "image/mean_green",
    "image/mean_blue",
    "image/std_red",
    "image/std_green",
    "image/std_blue",
    "image/hematoxylin",  # mean optical density of the stain, decadic
    "image/eosin",
    TISSUE_FRACTION,
    LAPLACIAN,
)

MAX_PIXELS: Final = 64_000_000  # of an image; a whole slide must be cut into fields first
MIN_SIDE: Final = 32  # pixels of an image, the smallest input of the models

TRAIN: Final = "train"
VALIDATION: Final = "validation"
TEST: Final = "test"
SPLITS: Final = (TRAIN, VALIDATION, TEST)
EVALUATED_SPLITS: Final = (VALIDATION, TEST)  # whose images the Evaluator predicts

# Columns of a table of predictions, beside label, patient, split, score, IN_DISTRIBUTION, DISTANCE and the
# further columns.
CANDIDATE: Final = "candidate"
IMAGE_PATH: Final = "image"  # as PATH
# float32, the same for every image: the lowest score of a positive image, and the lowest mean score of a
# positive patient. The served model returns it too.
THRESHOLD: Final = "threshold"

# Features of a transformed example, beside label, path, patient, tissue fraction and Laplacian.
PIXELS: Final = "pixels"  # bytes: tf.io.serialize_tensor of uint8 [size, size, 3]
# float32 [3]: RGB means and standard deviations of the train split, 0 to 255, the same in every example.
PIXEL_MEAN: Final = "pixel_mean"
PIXEL_STD: Final = "pixel_std"

# The served model.
MODEL_NAME: Final = "knet"
SERVING_SIGNATURE: Final = "serving_default"
EXAMPLES_SIGNATURE: Final = "examples"
CLASSIFY_SIGNATURE: Final = "classify"  # for TF Serving's Classify
FEATURES_SIGNATURE: Final = "features"
EXPLAIN_SIGNATURE: Final = "explain"
# HTTP header or gRPC metadata with the patient of a request's images, percent-encoded; optional.
PATIENT_HEADER: Final = "x-patient"
SERVING_INPUT: Final = "image"  # string [batch]: PNG or JPEG bytes
PROBABILITIES: Final = "probabilities"  # float32 [batch, classes], calibrated, in their order
CLASSES: Final = "classes"  # string [batch, classes]: their names
# string [batch]: of two classes the positive one if the score is the threshold or more; else the likeliest.
PREDICTED_LABEL: Final = "label"
# float32 [batch]: probability of the positive class, the second of two; of more classes that of the label.
SCORE: Final = "score"
POSITIVE_SCORE: Final = "positive_score"  # float32 [batch]: probability of the positive group of classes
DISTANCE: Final = "distance"  # float32 [batch]: distance of the image from the training images
IN_DISTRIBUTION: Final = "in_distribution"  # bool [batch]: False flags the prediction as unreliable
# string [batch, 6]: the following reasons for the flag, in this order; empty where one does not apply.
REASONS: Final = "reasons"
NOT_RGB: Final = "not 8-bit RGB"  # this reason and the next one: ingestion refuses the image
TOO_SMALL: Final = "too small"
LITTLE_TISSUE: Final = "little tissue"
BLURRED: Final = "blurred"
NOISY: Final = "noisy"
UNLIKE_TRAINING: Final = "unlike the training images"
EMBEDDING: Final = "embedding"  # float32 [batch, units]: output of the penultimate layer
HEAT_MAP: Final = "heat_map"  # float32 [batch, rows, columns], 0 to 1: Grad-CAM of the label
