"""Four cubics of a table at a time, in vector instructions.

Compilers do not find this by themselves: they take the coefficients of four places as sixteen single numbers. Four
rows read whole and transposed in registers need a third of the loads, and give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config
from numba.extending import intrinsic
from numpy.typing import NDArray

Array = NDArray[Any]

LANES = 4


def _in_numpy(
    c: Array, whole: NDArray[np.int32], place: Array, gain: Array, offset: Array, out: Array, i: int
) -> None:
    lanes = slice(i, i + LANES)
    u, (c0, c1, c2, c3) = place[lanes], c[whole[lanes]].T
    out[lanes] = gain[lanes] * (((c3 * u + c2) * u + c1) * u + c0) + offset[lanes]


def _in_registers(
    typing: Any, c: Any, whole: Any, place: Any, gain: Any, offset: Any, out: Any, i: Any
) -> tuple[Any, Callable[..., Any]]:
    """out = gain y(place) + offset for the lanes i to i + 3, y the cubic in the row `whole` of c.

    Args:
        typing: numba's.
        c: (places, 4), in one piece.
        whole: (n,) int32, rows of c.
        place: (n,) within a row, 0 to 1; beyond in the end rows.
        gain: (n,).
        offset: (n,).
        out: (n,).
        i: first lane.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        index = ir.IntType(32)
        number = context.get_value_type(c.dtype)
        numbers, indices = ir.VectorType(number, LANES), ir.VectorType(index, LANES)
        size = context.get_abi_sizeof(number)

        def start(argument: int) -> Any:
            return context.make_array(signature.args[argument])(context, builder, args[argument]).data

        def at(pointer: Any, place: Any, kind: ir.VectorType) -> Any:
            return builder.bitcast(builder.gep(pointer, [place]), kind.as_pointer())

        def lanes(argument: int) -> Any:
            return builder.load(at(start(argument), args[6], numbers), align=size)

        def chosen(one: Any, other: Any, places: list[int]) -> Any:
            return builder.shuffle_vector(one, other, ir.Constant(indices, places))

        def times_plus(one: Any, other: Any, more: Any) -> Any:
            return builder.fadd(builder.fmul(one, other, flags=("contract",)), more, flags=("contract",))

        rows = []
        for lane in range(LANES):
            # row by row from memory: taking them out of a vector is slower
            pointer = builder.gep(start(1), [builder.add(args[6], ir.Constant(args[6].type, lane))])
            row = builder.zext(builder.load(pointer), ir.IntType(64))
            begin = builder.mul(row, ir.Constant(row.type, LANES))
            rows.append(builder.load(at(start(0), begin, numbers), align=size))
        even, even_last = (chosen(rows[k], rows[k + 1], [0, 4, 2, 6]) for k in (0, 2))
        odd, odd_last = (chosen(rows[k], rows[k + 1], [1, 5, 3, 7]) for k in (0, 2))
        c0, c2 = (chosen(even, even_last, half) for half in ([0, 1, 4, 5], [2, 3, 6, 7]))
        c1, c3 = (chosen(odd, odd_last, half) for half in ([0, 1, 4, 5], [2, 3, 6, 7]))
        u = lanes(2)
        y = times_plus(times_plus(times_plus(c3, u, c2), u, c1), u, c0)
        builder.store(times_plus(lanes(3), y, lanes(4)), at(start(5), args[6], numbers), align=size)
        return context.get_dummy_value()

    return types.void(c, whole, place, gain, offset, out, i), generate


cubics: Callable[..., None] = _in_numpy if vars(config)["DISABLE_JIT"] else intrinsic(_in_registers)
