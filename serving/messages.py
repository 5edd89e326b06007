"""TensorFlow's examples and TF Serving's messages, the same on the wire, without TensorFlow."""

from pathlib import Path

from serving.load_messages import load_messages

_MESSAGES = load_messages(Path(__file__).with_name("messages.binpb"))

TensorProto = _MESSAGES["TensorProto"]
TensorShapeProto = _MESSAGES["TensorShapeProto"]
ModelSpec = _MESSAGES["ModelSpec"]
PredictRequest = _MESSAGES["PredictRequest"]
PredictResponse = _MESSAGES["PredictResponse"]
Example = _MESSAGES["Example"]
GetModelStatusRequest = _MESSAGES["GetModelStatusRequest"]
GetModelStatusResponse = _MESSAGES["GetModelStatusResponse"]
ModelVersionStatus = _MESSAGES["ModelVersionStatus"]
GetModelMetadataRequest = _MESSAGES["GetModelMetadataRequest"]
GetModelMetadataResponse = _MESSAGES["GetModelMetadataResponse"]
SignatureDefMap = _MESSAGES["SignatureDefMap"]
