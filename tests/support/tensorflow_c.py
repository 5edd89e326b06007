"""Runs a SavedModel through TensorFlow's C API, without Python's TensorFlow.

As a program it reads the path of a JSON file:
{"library": folder of the wheel, "model": folder, "calls": [{"feed": name, "strings": [], "fetch": [names]}]}.
It prints a list for each call with, for each fetched tensor, {"type": number, "shape": [], "strings": []}, or
"content" instead of the strings. Strings and content are base64.
"""

from __future__ import annotations

import base64
import ctypes
import json
import sys
from collections.abc import Sequence
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_uint8, c_void_p
from pathlib import Path
from typing import Any

_STRING = 7  # TF_STRING
_STRING_BYTES = 24  # sizeof(TF_TString)


class _Output(ctypes.Structure):
    _fields_ = (("operation", c_void_p), ("index", c_int))


_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "TF_NewStatus": (c_void_p, []),
    "TF_GetCode": (c_int, [c_void_p]),
    "TF_Message": (c_char_p, [c_void_p]),
    "TF_NewSessionOptions": (c_void_p, []),
    "TF_NewGraph": (c_void_p, []),
    "TF_LoadSessionFromSavedModel": (
        c_void_p,
        [c_void_p, c_void_p, c_char_p, POINTER(c_char_p), c_int, c_void_p, c_void_p, c_void_p],
    ),
    "TF_GraphOperationByName": (c_void_p, [c_void_p, c_char_p]),
    "TF_AllocateTensor": (c_void_p, [c_int, POINTER(c_int64), c_int, c_size_t]),
    "TF_TensorData": (c_void_p, [c_void_p]),
    "TF_TensorType": (c_int, [c_void_p]),
    "TF_NumDims": (c_int, [c_void_p]),
    "TF_Dim": (c_int64, [c_void_p, c_int]),
    "TF_TensorByteSize": (c_size_t, [c_void_p]),
    "TF_StringInit": (None, [c_void_p]),
    "TF_StringCopy": (None, [c_void_p, c_char_p, c_size_t]),
    "TF_StringGetDataPointer": (POINTER(c_uint8), [c_void_p]),
    "TF_StringGetSize": (c_size_t, [c_void_p]),
    "TF_SessionRun": (
        None,
        [
            *(c_void_p, c_void_p),
            *(POINTER(_Output), POINTER(c_void_p), c_int),
            *(POINTER(_Output), POINTER(c_void_p), c_int),
            *(c_void_p, c_int, c_void_p, c_void_p),
        ],
    ),
}


class SavedModel:
    """A SavedModel with the tag `serve` in a session of the C API."""

    def __init__(self, library: Path, model: Path) -> None:
        """Load it.

        Args:
            library: folder of libtensorflow_cc.so.2.
            model: folder of the SavedModel.
        """
        ctypes.CDLL(str(library / "libtensorflow_framework.so.2"), ctypes.RTLD_GLOBAL)
        self._c: Any = ctypes.CDLL(str(library / "libtensorflow_cc.so.2"))
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self._c, name)
            function.restype, function.argtypes = result, arguments
        self._status = self._c.TF_NewStatus()
        self._graph = self._c.TF_NewGraph()
        tags = (c_char_p * 1)(b"serve")
        options = self._c.TF_NewSessionOptions()
        path = str(model).encode()
        self._session = self._c.TF_LoadSessionFromSavedModel(
            options, None, path, tags, 1, self._graph, None, self._status
        )
        self._check()

    def run(self, feed: str, strings: Sequence[bytes], fetch: Sequence[str]) -> list[dict[str, Any]]:
        """Feed a vector of strings and fetch tensors."""
        shape = (c_int64 * 1)(len(strings))
        given = self._c.TF_AllocateTensor(_STRING, shape, 1, _STRING_BYTES * len(strings))
        for address, string in zip(self._elements(given, len(strings)), strings, strict=True):
            self._c.TF_StringInit(address)
            self._c.TF_StringCopy(address, string, len(string))
        fetched = (c_void_p * len(fetch))()
        self._c.TF_SessionRun(
            *(self._session, None),
            *(self._outputs([feed]), (c_void_p * 1)(given), 1),
            *(self._outputs(fetch), fetched, len(fetch)),
            *(None, 0, None, self._status),
        )
        self._check()
        return [self._read(tensor) for tensor in fetched]

    def _outputs(self, names: Sequence[str]) -> Any:
        outputs = (_Output * len(names))()
        for output, name in zip(outputs, names, strict=True):
            operation, _, index = name.partition(":")
            output.operation = self._c.TF_GraphOperationByName(self._graph, operation.encode())
            output.index = int(index)
            assert output.operation, f"no operation {operation}"
        return outputs

    def _read(self, tensor: int | None) -> dict[str, Any]:
        shape = [self._c.TF_Dim(tensor, axis) for axis in range(self._c.TF_NumDims(tensor))]
        size = self._c.TF_TensorByteSize(tensor)
        read: dict[str, Any] = {"type": self._c.TF_TensorType(tensor), "shape": shape}
        if read["type"] != _STRING:
            content = ctypes.string_at(self._c.TF_TensorData(tensor), size)
            return {**read, "content": base64.b64encode(content).decode()}
        strings = [
            ctypes.string_at(self._c.TF_StringGetDataPointer(address), self._c.TF_StringGetSize(address))
            for address in self._elements(tensor, size // _STRING_BYTES)
        ]
        return {**read, "strings": [base64.b64encode(string).decode() for string in strings]}

    def _elements(self, tensor: int | None, count: int) -> list[int]:
        start = self._c.TF_TensorData(tensor)
        return [start + number * _STRING_BYTES for number in range(count)]

    def _check(self) -> None:
        if self._c.TF_GetCode(self._status):
            raise RuntimeError(self._c.TF_Message(self._status).decode(errors="replace"))


def main(file: Path) -> None:
    """Answer the calls of a file."""
    asked = json.loads(file.read_text("ascii"))
    model = SavedModel(Path(asked["library"]), Path(asked["model"]))
    replies = [
        model.run(call["feed"], [base64.b64decode(string) for string in call["strings"]], call["fetch"])
        for call in asked["calls"]
    ]
    assert "tensorflow" not in sys.modules
    print(json.dumps(replies))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
