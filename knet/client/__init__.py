"""Client of a served model, over gRPC; needs grpcio and protobuf, neither TensorFlow nor NumPy."""

from knet.client.aio import AsyncClient
from knet.client.client import Client
from knet.client.connection import Tls
from knet.client.files import FilePrediction, file_name, predict_files, predict_to_csv
from knet.client.images import FailedPrediction, find_images
from knet.client.results import Explanation, PatientPrediction, Prediction, VersionStatus, by_patient

__all__ = [
    "AsyncClient",
    "Client",
    "Explanation",
    "FailedPrediction",
    "FilePrediction",
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
