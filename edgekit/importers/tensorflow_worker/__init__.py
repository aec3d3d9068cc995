"""The only code that imports TensorFlow, Keras and tf2onnx: ``python -m edgekit.importers.tensorflow_worker``."""
