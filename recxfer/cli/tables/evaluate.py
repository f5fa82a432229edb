"""Tables of `evaluate`: metrics down, runs or slices across, intervals and paired differences."""

from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from recxfer.commands.evaluate import EvaluateResult
from recxfer.evaluation.continual import Continual
from recxfer.evaluation.decisions import ALL, DecisionFigures
from recxfer.evaluation.figures import RunFigures, SliceFigures
from recxfer.evaluation.sequence import TaskSequence
from recxfer.evaluation.statistics import Figure
from recxfer.runs.sizes import Size


def render(result: EvaluateResult) -> RenderableType:
    """Draw a table of each task's runs and, where asked for, one of each run's slices."""
    parts: list[RenderableType] = [
        _runs(result, [run for run in result.runs if (run.task, run.dataset) == of])
        for of in dict.fromkeys((run.task, run.dataset) for run in result.runs)
    ]
    if result.sequence is not None:
        parts += [_sequence(result.sequence), _means(result.sequence.metrics)]
    for run, task in dict.fromkeys((part.run, part.task) for part in result.slices):
        own = [part for part in result.slices if (part.run, part.task) == (run, task)]
        parts.append(_slices(run, result.by or "", own))
    for run, task in dict.fromkeys((part.run, part.task) for part in result.decisions):
        told = [part for part in result.decisions if (part.run, part.task) == (run, task)]
        parts.append(_decisions(run, told))
    return Group(*parts)


def _runs(result: EvaluateResult, runs: Sequence[RunFigures]) -> Table:
    first = runs[0]
    table = Table(title=_title(result, first), title_justify="left", caption_justify="left")
    table.add_column("metric", style="bold")
    for run in runs:
        seeds = "" if run.over_seeds is None else f", {len(run.over_seeds.seeds)} seeds"
        table.add_column(Text(f"{run.run}\n({run.method}{seeds})"), justify="right")
    differences = {
        (d.run, d.metric): d
        for d in result.differences
        if (d.task, d.dataset) == (first.task, first.dataset)
    }
    for metric in first.metrics:
        cells = [Text(metric)]
        for run in runs:
            cell = _figure(run.metrics[metric])
            if run.over_seeds is not None:
                cell.append(f"\nsd {run.over_seeds.sd[metric]:.4f} between seeds", "dim")
            compared = differences.get((run.run, metric))
            if compared is not None and compared.difference.value is not None:
                cell.append(f"\n{compared.difference.value:+.4f}, p {compared.p_holm:.3f}", "cyan")
            cells.append(cell)
        table.add_row(*cells)
    table.add_row("checkpoint", *(_size(run.size) for run in runs))
    if len(runs) > 1:
        table.caption = f"Differences to {first.run}, in pairs; p by bootstrap, adjusted (Holm)."
    return table


def _sequence(sequence: TaskSequence) -> Table:
    table = Table(title="Task after task", title_justify="left")
    table.add_column("after", style="bold")
    for task in sequence.tasks:
        table.add_column(
            Text(f"{task['task']}\n{task['dataset']}, {task['metric']}"), justify="right"
        )
    for run, values in zip(sequence.runs, sequence.matrix, strict=True):
        table.add_row(Text(run), *("-" if value is None else f"{value:.4f}" for value in values))
    return table


def _means(metrics: Continual) -> Table:
    table = Table(show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    for name, value in asdict(metrics).items():
        table.add_row(name.replace("_", " "), "-" if value is None else f"{value:+.4f}")
    return table


def _size(size: Size) -> Text:
    share = (
        "no backbone" if size.backbone_share is None else f"{size.backbone_share:.1%} of backbone"
    )
    kilobytes = size.checkpoint_bytes / 1e3
    told = f"{kilobytes:,.0f} kB" if kilobytes < 1e3 else f"{kilobytes / 1e3:,.2f} MB"
    return Text.assemble(f"{told}\n", (share, "dim"))


def _title(result: EvaluateResult, first: RunFigures) -> Text:
    parts = [f"{first.task} on {first.dataset}: {first.cases:,} {result.on} cases"]
    if first.people != first.cases:
        parts[0] += f" of {first.people:,} people"
    if first.candidates != "all":
        parts.append(f"ranked among {first.candidates} candidates")
    if first.seen == "kept":
        parts.append("items met before kept")
    return Text(", ".join(parts))


def _slices(run: str, by: str, slices: Sequence[SliceFigures]) -> Table:
    table = Table(title=Text(f"{run} by {by}"), title_justify="left")
    table.add_column("metric", style="bold")
    for part in slices:
        table.add_column(Text(f"{part.slice}\n({part.cases:,})"), justify="right")
    for metric in slices[0].metrics:
        table.add_row(Text(metric), *(_figure(part.metrics[metric]) for part in slices))
    return table


def _decisions(run: str, told: Sequence[DecisionFigures]) -> Table:
    table = Table(title=Text(f"Blocks that {run} fine-tunes"), title_justify="left")
    table.add_column("cases", style="bold")
    table.add_column("mean", justify="right")
    for count in range(len(told[0].counts)):
        table.add_column(str(count), justify="right")
    for block in range(len(told[0].blocks)):
        table.add_column(f"block {block}", justify="right")
    for part, before in zip(told, [None, *told[:-1]], strict=True):
        if before is not None and before.by != part.by:
            table.add_section()
        name = part.slice if part.by == ALL else f"{part.by} {part.slice}"
        shares = (f"{share:.0%}" for share in (*part.counts, *part.blocks))
        table.add_row(Text(f"{name} ({part.cases:,})"), f"{part.mean:.2f}", *shares)
    table.caption = "Share of the cases with so many fine-tuned blocks, and of each block."
    table.caption_justify = "left"
    return table


def _figure(figure: Figure) -> Text:
    if figure.value is None:
        return Text("-")
    if figure.low is None or figure.high is None:
        return Text(f"{figure.value:.4f}")
    interval = f"[{figure.low:.4f}, {figure.high:.4f}]"
    return Text.assemble(f"{figure.value:.4f}\n", (interval, "dim"))
