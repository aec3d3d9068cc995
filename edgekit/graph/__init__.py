"""The graph is ONNX in memory, held by ``onnx_ir``, at one pinned opset."""

OPSET = 21
"""The default-domain opset of every graph inside edgekit; onnxruntime reads it since 1.18."""
