"""Sinks: where a run's figures go while it trains; one file each, one line of the table each."""

from __future__ import annotations

from trainer.sinks.csv_tables import CsvTables
from trainer.sinks.json_lines import JsonLines
from trainer.sinks.opened import Sinks, check_sinks, with_json_lines
from trainer.sinks.protocol import Sink, SinkConfig, SinkContext
from trainer.sinks.tensorboard import TensorBoard
from trainer.sinks.wandb import WeightsAndBiases

SINKS: dict[str, type[SinkConfig]] = {
    "jsonl": JsonLines,
    "csv": CsvTables,
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
}

__all__ = ["SINKS", "Sink", "SinkConfig", "SinkContext", "Sinks", "check_sinks", "with_json_lines"]
