"""A fitted model becomes ONNX: an exporter for each library."""
