"""What computing a graph takes, from its steps alone, so that one that takes too much is refused before it runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spinefx.errors import ModelError
from spinefx.learning.graph_plan import GraphStep

__all__ = ["GraphCost", "cost_of"]

# For one patch. ResNet50 takes 2^18 values and 2^31 products at most.
MOST_VALUES, MOST_PRODUCTS = 2**23, 2**36
Shape = tuple[int, ...]


@dataclass(frozen=True)
class GraphCost:
    """What one patch takes.

    Parameters
    ----------
    values : int
        In the largest map.
    products : int
        Multiplications of all layers.
    """

    values: int
    products: int


def cost_of(steps: Sequence[GraphStep], tensors: Mapping[str, Shape], images: str, shape: Shape) -> GraphCost:
    """Follow the shape of one image through a graph.

    Parameters
    ----------
    steps : sequence of GraphStep
        Of the operators of :data:`spinefx.learning.onnx_reading.OPERATORS`.
    tensors : mapping of str to tuple of int
        Shapes of the weights by name.
    images : str
        Name of the graph's input.
    shape : tuple of int
        Channels, rows and columns of one image.

    Returns
    -------
    GraphCost

    Raises
    ------
    ModelError
        For a map of more than 2^23 values, more than 2^36 products, and steps whose shapes do not fit.
    """
    shapes, largest, products = {images: shape}, math.prod(shape), 0
    for step in steps:
        try:
            after, each = _follow(step, shapes, tensors)
        except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError) as error:
            raise ModelError(f"a step {step.operator} whose shapes do not fit", where="model.onnx") from error
        shapes[step.output] = after
        largest, products = max(largest, math.prod(after)), products + each * math.prod(after)
        if largest > MOST_VALUES or products > MOST_PRODUCTS or min(after, default=1) < 1:
            raise ModelError(
                f"a graph with maps of {largest} values and {products} products for one patch",
                where="model.onnx",
                allowed=f"up to {MOST_VALUES} values and {MOST_PRODUCTS} products",
            )
    return GraphCost(largest, products)


def _follow(step: GraphStep, shapes: Mapping[str, Shape], tensors: Mapping[str, Shape]) -> tuple[Shape, int]:
    """Return the shape behind a step, and the products that each of its values takes."""
    before = shapes[step.inputs[0]]
    if step.operator == "Add":
        return np.broadcast_shapes(*(shapes[name] for name in step.inputs)), 1
    if step.operator == "Conv":
        filters = tensors[step.inputs[1]]
        return (filters[0], *_windows(before, filters[2:], step.attributes)), math.prod(filters[1:])
    if step.operator == "MaxPool":
        kernel: Any = step.attributes["kernel_shape"]
        return (before[0], *_windows(before, kernel, step.attributes)), math.prod(kernel)
    if step.operator == "Gemm":
        rows, columns = tensors[step.inputs[1]]
        return (rows,), columns
    if step.operator == "GlobalAveragePool":
        return (before[0], 1, 1), math.prod(before[1:])
    if step.operator == "Flatten":
        return (math.prod(before),), 1
    return before, 1


def _windows(before: Shape, kernel: Sequence[int], attributes: Mapping[str, Any]) -> tuple[int, ...]:
    """Return how many places a window takes along rows and columns."""
    pads, strides = attributes.get("pads", (0,) * 4), attributes.get("strides", (1, 1))
    dilations = attributes.get("dilations", (1, 1))
    return tuple(
        (before[1 + axis] + pads[axis] + pads[axis + 2] - dilations[axis] * (kernel[axis] - 1) - 1) // strides[axis] + 1
        for axis in range(2)
    )
