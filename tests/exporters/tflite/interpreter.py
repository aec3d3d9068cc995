"""A LiteRT interpreter in a process of its own that lives as long as the tests: a bad file kills it, not them."""

import atexit
import multiprocessing as mp
from multiprocessing.connection import Connection

import numpy as np


def _serve(connection: Connection) -> None:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    while True:
        data, feeds, plain = connection.recv()
        try:
            resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if plain else OpResolverType.AUTO
            interpreter = Interpreter(model_content=data, num_threads=1, experimental_op_resolver_type=resolver)
            runner = interpreter.get_signature_runner("serving_default")
            connection.send({name: np.array(array) for name, array in runner(**feeds).items()})
        except (ValueError, RuntimeError) as error:
            connection.send(str(error))


class _Server:
    def __init__(self) -> None:
        self.process: mp.process.BaseProcess | None = None
        self.connection: Connection | None = None

    def run(self, data: bytes, feeds: dict[str, np.ndarray], plain: bool) -> dict[str, np.ndarray]:
        if self.process is None or not self.process.is_alive():
            context = mp.get_context("spawn")
            self.connection, other = context.Pipe()
            self.process = context.Process(target=_serve, args=(other,), daemon=True)
            self.process.start()
            other.close()
        self.connection.send((data, feeds, plain))
        try:
            result = self.connection.recv()
        except EOFError:
            self.process.join()
            raise AssertionError(f"the interpreter crashed with exit code {self.process.exitcode}") from None
        assert not isinstance(result, str), result
        return result

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()


_server = _Server()
atexit.register(_server.stop)


def run(data: bytes, feeds: dict[str, np.ndarray], *, plain: bool = False) -> dict[str, np.ndarray]:
    """Outputs by signature name. ``plain`` runs the builtin kernels without the XNNPACK delegate."""
    return _server.run(data, feeds, plain)
