"""Write the ONNX models that scoring without torch needs, for models of earlier versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spinefx.learning.onnx_export import export_graph
from spinefx.learning.onnx_model import GraphCard
from spinefx.learning.scoring import model_folders

__all__ = ["ExportedGraph", "export"]


@dataclass(frozen=True)
class ExportedGraph:
    """An ONNX model that was written.

    Parameters
    ----------
    name : str
        Name of the model folder.
    card : GraphCard
        Description of the ONNX model, with the largest differences from torch.
    """

    name: str
    card: GraphCard


def export(folders: Sequence[Path]) -> tuple[ExportedGraph, ...]:
    """Write the ONNX model of every trained model.

    Parameters
    ----------
    folders : sequence of Path
        Model folders or experiment folders.

    Returns
    -------
    tuple of ExportedGraph

    Raises
    ------
    ModelError
        When a folder holds no model or an altered one, or an ONNX model disagrees with torch.
    """
    found = [model for folder in folders for model in model_folders(folder)]
    return tuple(ExportedGraph(model.name, export_graph(model)) for model in found)
