"""Reads from MLMD what an execution of a node gave."""

from __future__ import annotations

from pathlib import Path

from ml_metadata.proto import metadata_store_pb2 as pb

from pipeline.runners.execution import Execution, OutputArtifact

_OUTPUT_EVENTS = (pb.Event.OUTPUT, pb.Event.DECLARED_OUTPUT)


def read_execution(connection: pb.ConnectionConfig, execution_id: int) -> Execution:
    """Looks an execution up; cached ones have the outputs of the execution they stand for."""
    from tfx.orchestration.metadata import Metadata  # which other users of an Execution do without

    with Metadata(connection) as metadata:  # which tries again where MySQL gave way to another run
        store = metadata.store
        (execution,) = store.get_executions_by_id([execution_id])
        events = [e for e in store.get_events_by_execution_ids([execution_id]) if e.type in _OUTPUT_EVENTS]
        artifacts = {a.id: a for a in store.get_artifacts_by_id([event.artifact_id for event in events])}
    outputs = {event.path.steps[0].key: _output(artifacts[event.artifact_id]) for event in events}
    return Execution(
        id=execution_id,
        cached=execution.last_known_state == pb.Execution.CACHED,
        outputs=outputs,
    )


def _output(artifact: pb.Artifact) -> OutputArtifact:
    properties = {
        name: getattr(value, value.WhichOneof("value")) for name, value in artifact.custom_properties.items()
    }
    return OutputArtifact(id=artifact.id, uri=Path(artifact.uri), properties=properties)
