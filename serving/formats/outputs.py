"""Write the outputs of a package in each form of an answer, in the prediction log and in the lake.
The form is prepared once for a champion, so that an answer pays for its values only.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from serving.formats.arrow.buffers import number_array, text_array, truth_array
from serving.package.outputs import Output, Values, label_of, number_places


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if set(text) & set('",\r\n') else text


class Kind(NamedTuple):
    """A kind of output, in every form."""

    value: Any  # type in Python, and so in JSON
    arrow: str  # in answers and in the lake: alias of the Arrow type, or of that of list items
    tensor: str  # datatype of the Open Inference Protocol
    schema: str  # type in JSON Schema
    text: Callable[[Any], str]  # in CSV
    listed: bool = False

    @property
    def arrow_type(self) -> Any:
        import pyarrow as pa

        item = pa.type_for_alias(self.arrow)
        return pa.list_(item) if self.listed else item

    def array(self, values: Sequence[Any]) -> Any:
        """An Arrow column of answers."""
        import pyarrow as pa

        if self.listed:
            return pa.array(values, self.arrow_type)
        if self.arrow == "double":
            return number_array(values)
        return truth_array(values) if self.arrow == "bool" else text_array(values)

    def flat(self, values: Sequence[Any]) -> Sequence[Any]:
        """Values of a column where none can be a list: a list is its JSON."""
        return list(map(_json, values)) if self.listed else values


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


OUTPUT_KINDS = {
    "number": Kind(float, "double", "FP64", "number", repr),
    "decision": Kind(bool, "bool", "BOOL", "boolean", lambda value: "true" if value else "false"),
    "bound": Kind(float, "double", "FP64", "number", repr),
    "category": Kind(str, "string", "BYTES", "string", _quoted),
    "set": Kind(
        list[str], "string", "BYTES", "array", lambda value: _quoted(_json(value)), listed=True
    ),
}


class AnswerForm:
    """The outputs of one package. ``prediction`` makes a row's JSON object, of its id and a value
    for each output, in their order.
    """

    def __init__(self, outputs: Sequence[Output]) -> None:
        self.outputs = outputs
        self.names = [output.name for output in outputs]
        self.numbers = number_places(outputs)
        self.label = label_of(outputs)
        self.tensors = {output.name: OUTPUT_KINDS[output.kind].tensor for output in outputs}
        self.tensors["prediction_id"] = "BYTES"
        self.prediction = prediction_type(outputs)
        first = outputs[self.numbers[0]]
        # One probability, with a decision made from it.
        decides = any(output.kind == "decision" for output in outputs)
        self.is_chance = decides and (first.low, first.high) == (0, 1)
        self._head = ",".join(["id", *map(_quoted, self.names), "model_version"])
        self._texts = [OUTPUT_KINDS[output.kind].text for output in outputs]
        self._kinds = [OUTPUT_KINDS[output.kind] for output in outputs]

    def csv(self, ids: Sequence[str], values: Values, version: str) -> bytes:
        columns: list[Iterable[str]] = [
            map(text, column) for text, column in zip(self._texts, values, strict=True)
        ]
        lines = [",".join([*row, version]) for row in zip(ids, *columns, strict=True)]
        return "\n".join([self._head, *lines, ""]).encode()

    def flat(self, values: Values) -> Values:
        """The ``values`` for a form without lists."""
        return [list(kind.flat(column)) for kind, column in zip(self._kinds, values, strict=True)]

    def arrow(self, ids: Sequence[str], values: Values, version: str) -> bytes:
        """An Arrow stream of one batch."""
        import pyarrow as pa

        columns = {"id": text_array(ids)}
        for name, kind, column in zip(self.names, self._kinds, values, strict=True):
            columns[name] = kind.array(column)
        columns["model_version"] = text_array([version] * len(ids))
        sink = pa.BufferOutputStream()
        batch = pa.record_batch(columns)
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return sink.getvalue().to_pybytes()


def prediction_type(outputs: Iterable[Any]) -> Any:
    """The type of a row in JSON, for ``outputs`` that have a name and a kind."""
    outputs = list(outputs)
    fields = [
        (f"o{place}", OUTPUT_KINDS[output.kind].value) for place, output in enumerate(outputs)
    ]
    renamed = {f"o{place}": output.name for place, output in enumerate(outputs)}
    return msgspec.defstruct("Prediction", [("id", str), *fields], rename=renamed, gc=False)
