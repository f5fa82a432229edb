"""Options that several commands share, declared once."""

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE.toml", help="Settings by section; --set wins over it."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="One setting, such as optim.lr=3e-4."),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps, ...")]
Precision = Annotated[
    str,
    typer.Option("--precision", help="auto, fp32 or bf16; auto is bf16 where hardware has it."),
]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, notes or warnings.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the output if it exists, once it is made.")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with an interrupted run of the same settings.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of every error.")]
Epochs = Annotated[int | None, typer.Option("--epochs", help="Passes over the training data.")]
BatchSize = Annotated[int | None, typer.Option("--batch-size", help="Rows of a step, on average.")]
Lr = Annotated[float | None, typer.Option("--lr", help="Peak learning rate.")]
