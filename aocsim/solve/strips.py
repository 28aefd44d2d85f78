"""Strips of a vector's product with a matrix, in vector instructions.

Matrices that serve one solve alone are read once for each evaluation, and reading them is what a product costs. Kept in
registers until a strip is through, its sums are neither read nor written on the way: compilers do not find this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic
from numpy.typing import NDArray

Array = NDArray[Any]

LANES, VECTORS = 8, 3
WIDTH = LANES * VECTORS
"""Columns of a strip: with factors and entries of the matrix, what sixteen registers of four doubles hold."""


def _in_numpy(x: Array, a: Array, start: Array, out: Array, begin: int) -> None:
    total = start[begin : begin + WIDTH].copy()
    for i in range(len(x)):
        total += x[i] * a[i, begin : begin + WIDTH]
    out[begin : begin + WIDTH] = total


def _in_registers(
    typing: Any, x: Any, a: Any, start: Any, out: Any, begin: Any
) -> tuple[Any, Callable[..., Any]]:
    """out = x a + start in the columns begin to begin + WIDTH - 1, none of which may lie outside.

    Args:
        typing: numba's.
        x: (n,), in one piece.
        a: (n, m), in one piece, in the precision of x or in single.
        start: (m,), in one piece.
        out: (m,), in one piece.
        begin: first column.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        number, stored, index = context.get_value_type(x.dtype), context.get_value_type(a.dtype), args[4].type
        lane, numbers, kept = ir.IntType(32), ir.VectorType(number, LANES), ir.VectorType(stored, LANES)
        factors, matrix, offsets, result = (
            context.make_array(signature.args[k])(context, builder, args[k]) for k in range(4)
        )
        rows, columns = (builder.extract_value(matrix.shape, axis) for axis in range(2))

        def lanes(data: Any, first: Any, vector: int, kind: ir.VectorType) -> Any:
            place = builder.add(first, ir.Constant(index, vector * LANES))
            return builder.bitcast(builder.gep(data, [place]), kind.as_pointer())

        aligned, sums = context.get_abi_sizeof(number), []
        for vector in range(VECTORS):
            offset = builder.load(lanes(offsets.data, args[4], vector, numbers), align=aligned)
            sums.append(cgutils.alloca_once_value(builder, offset))  # type: ignore[no-untyped-call]
        with cgutils.for_range(builder, rows, intp=index) as loop:
            unset = ir.Constant(numbers, ir.Undefined)
            one = builder.load(builder.gep(factors.data, [loop.index]))
            one = builder.insert_element(unset, one, ir.Constant(lane, 0))
            factor = builder.shuffle_vector(one, unset, ir.Constant(ir.VectorType(lane, LANES), [0] * LANES))
            first = builder.add(builder.mul(loop.index, columns), args[4])
            for vector, total in enumerate(sums):
                entry = builder.load(
                    lanes(matrix.data, first, vector, kept), align=context.get_abi_sizeof(stored)
                )
                if stored != number:
                    entry = builder.fpext(entry, numbers)
                more = builder.fmul(factor, entry, flags=("contract",))
                builder.store(builder.fadd(more, builder.load(total), flags=("contract",)), total)
        for vector, total in enumerate(sums):
            builder.store(builder.load(total), lanes(result.data, args[4], vector, numbers), align=aligned)
        return context.get_dummy_value()

    return types.void(x, a, start, out, begin), generate


strip: Callable[..., None] = _in_numpy if vars(config)["DISABLE_JIT"] else intrinsic(_in_registers)
