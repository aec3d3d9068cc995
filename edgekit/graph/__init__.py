"""The graph is ONNX in memory, held by ``onnx_ir``, at one pinned opset."""

OPSET = 21
"""The default-domain opset of every graph inside edgekit; onnxruntime reads it since 1.18."""

IR_VERSION = 10
"""The version of the ONNX file format that came with ``OPSET``: runtimes refuse what is newer than they are."""
