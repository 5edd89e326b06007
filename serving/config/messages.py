"""The messages of TF Serving's configuration files, without TensorFlow."""

from pathlib import Path

from serving.load_messages import load_messages

_MESSAGES = load_messages(Path(__file__).with_name("settings.binpb"))

ModelServerConfig = _MESSAGES["ModelServerConfig"]
BatchingParameters = _MESSAGES["BatchingParameters"]
MonitoringConfig = _MESSAGES["MonitoringConfig"]
SSLConfig = _MESSAGES["SSLConfig"]
