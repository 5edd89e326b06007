"""Asks a served model over gRPC; needs neither TensorFlow nor NumPy, so that it imports at once."""

from serving.client.async_client import AsyncClient
from serving.client.bad_image import BadImage
from serving.client.by_patient import PatientPrediction, by_patient
from serving.client.client import Client
from serving.client.explanation import Explanation
from serving.client.file_answer import FileAnswer, file_name
from serving.client.find_images import find_images
from serving.client.predict_files import predict_files
from serving.client.predict_to_csv import predict_to_csv
from serving.client.tls import Tls
from serving.client.version_status import VersionStatus
from serving.prediction import Prediction

__all__ = [
    "AsyncClient",
    "BadImage",
    "Client",
    "Explanation",
    "FileAnswer",
    "PatientPrediction",
    "Prediction",
    "Tls",
    "VersionStatus",
    "by_patient",
    "file_name",
    "find_images",
    "predict_files",
    "predict_to_csv",
]
