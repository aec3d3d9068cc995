"""Which shape every input gets: what the model says, what the caller asks for, and 1 for an open batch dimension.

Needs nothing but the standard library, so that the TensorFlow subprocess can use it as well.
"""

from collections.abc import Mapping, Sequence

from edgekit.errors import ModelError, nearest

Dim = int | str | None
"""A dimension as a model declares it: a size, a symbol for one unknown size, or unknown (also any int < 1)."""

Shape = tuple[int, ...]


def resolve_input_shapes(
    declared: Mapping[str, Sequence[Dim] | None], requested: Mapping[str, Shape] | None
) -> dict[str, Shape]:
    """A static shape for every input of ``declared``, in its order.

    ``declared`` has one entry per input, None where not even the rank is known. ``requested`` gives sizes to open
    dimensions; an open first dimension that nobody asked for becomes 1. A symbol has one size in all inputs.
    Raises ModelError for unknown names, contradictions, and open dimensions that are left.
    """
    requested = requested or {}
    for name in requested:
        if name not in declared:
            known = ", ".join(f'"{known}"' for known in declared)
            raise ModelError(f'input shape given for "{name}", but the inputs are {known}{nearest(name, declared)}')
    sizes: dict[str, int] = {}
    for name, shape in requested.items():
        _bind_requested(name, declared[name], shape, sizes)
    for dims in declared.values():
        if dims and isinstance(dims[0], str):
            sizes.setdefault(dims[0], 1)
    return {name: _resolve(name, dims, requested.get(name), sizes) for name, dims in declared.items()}


def format_dims(dims: Sequence[Dim] | None) -> str:
    """``[?, 3, height, width]``: how messages show a declared shape."""
    if dims is None:
        return "of unknown rank"
    return "[" + ", ".join(str(dim) if _size(dim) or isinstance(dim, str) else "?" for dim in dims) + "]"


def _size(dim: Dim) -> int | None:
    return dim if isinstance(dim, int) and dim > 0 else None


def _bind_requested(name: str, dims: Sequence[Dim] | None, shape: Shape, sizes: dict[str, int]) -> None:
    typed = ",".join(map(str, shape))
    if not all(dim > 0 for dim in shape):
        raise ModelError(f"input shape {name}={typed}: every dimension must be at least 1")
    if dims is None:
        return
    mismatch = ModelError(
        f'input "{name}" has shape {format_dims(dims)}, which does not admit {name}={typed}; '
        "only open dimensions can be given a size"
    )
    if len(dims) != len(shape):
        raise mismatch
    for dim, size in zip(dims, shape, strict=True):
        if _size(dim) not in (None, size):
            raise mismatch
        if isinstance(dim, str) and sizes.setdefault(dim, size) != size:
            raise ModelError(f'input shape {name}={typed}: dimension "{dim}" is already {sizes[dim]} elsewhere')


def _resolve(name: str, dims: Sequence[Dim] | None, asked: Shape | None, sizes: Mapping[str, int]) -> Shape:
    if asked is not None:
        return asked
    if dims is None:
        raise ModelError(
            f'input "{name}" is of unknown rank; give its shape, for example --input-shape {name}=1,3,224,224'
        )
    shape = [sizes.get(dim) if isinstance(dim, str) else _size(dim) for dim in dims]
    if shape and shape[0] is None:
        shape[0] = 1
    if None in shape:
        example = ",".join(str(size or _example_size(len(shape))) for size in shape)
        raise ModelError(
            f'input "{name}" has shape {format_dims(dims)}: only the first dimension may stay open (it becomes 1); '
            f"give the others, for example --input-shape {name}={example}"
        )
    return tuple(size for size in shape if size is not None)


def _example_size(rank: int) -> int:
    return 224 if rank >= 4 else 16
