"""Give models of older versions the graph that scoring without torch needs."""

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
    """A graph that was written.

    Parameters
    ----------
    name : str
        The model's folder.
    card : GraphCard
        With the largest differences to torch.
    """

    name: str
    card: GraphCard


def export(folders: Sequence[Path]) -> tuple[ExportedGraph, ...]:
    """Write the graph of every model.

    Parameters
    ----------
    folders : sequence of Path
        Model folders, or experiments' folders.

    Returns
    -------
    tuple of ExportedGraph

    Raises
    ------
    ModelError
        When a folder holds no model, an altered one, or one whose graph does not answer as torch does.
    """
    found = [model for folder in folders for model in model_folders(folder)]
    return tuple(ExportedGraph(model.name, export_graph(model)) for model in found)
