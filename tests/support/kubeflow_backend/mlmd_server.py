"""Server of ML Metadata over gRPC, with the C++ store of the installed library: `mlmd_server.py PORT FILE`.

Each call is passed to the store as the bytes that came in.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
from ml_metadata.metadata_store.pywrap.metadata_store_extension import metadata_store
from ml_metadata.proto import metadata_store_pb2

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, file: str) -> None:
        config = metadata_store_pb2.ConnectionConfig()
        config.sqlite.filename_uri = file
        config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        options = metadata_store_pb2.MigrationOptions()
        self._store = metadata_store.CreateMetadataStore(
            config.SerializeToString(), options.SerializeToString()
        )
        self._lock = threading.Lock()

    def service(self, details: Any) -> Any:
        name = details.method.rpartition("/")[2]
        method: Callable[..., Any] | None = getattr(metadata_store, name, None)
        if method is None:
            return None

        def call(request: bytes, context: Any) -> bytes:
            with self._lock:
                response, error, code = method(self._store, request)
            if code:
                context.abort(_CODES[code], error.decode())
            answer: bytes = response
            return answer

        return grpc.unary_unary_rpc_method_handler(call)


def _serve(port: str, file: str) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers([_Handler(file)])
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
