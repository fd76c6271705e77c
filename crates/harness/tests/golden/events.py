"""Writes `events.tfevents` beside this file with TensorBoard's own protobuf classes and record writer (tensorboard 2.21)."""

import math
import pathlib

from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

Value = summary_pb2.Summary.Value
scalars = [
    Value(tag="train/loss", simple_value=2.5),
    Value(tag="validation/accuracy", simple_value=math.nan),
]
text = Value(
    tag="configuration",
    metadata=summary_pb2.SummaryMetadata(
        plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name="text")
    ),
    tensor=tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=[b"    rank = 16"]),
)
events = [
    event_pb2.Event(wall_time=1_700_000_000.25, file_version="brain.Event:2"),
    event_pb2.Event(wall_time=1_700_000_001.5, step=300, summary=summary_pb2.Summary(value=scalars)),
    event_pb2.Event(wall_time=1_700_000_002.0, summary=summary_pb2.Summary(value=[text])),
]
with open(pathlib.Path(__file__).with_name("events.tfevents"), "wb") as file:
    writer = RecordWriter(file)
    for event in events:
        writer.write(event.SerializeToString(deterministic=True))
    writer.flush()
