"""The figures of a section as a table that can be pasted into docs/performance.md."""

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

console = Console(highlight=False, width=200)


def show(title: str, section: dict) -> None:
    """Print a section: a column for each figure, then what was aimed at."""
    rows = section["rows"]
    where, how = section["machine"], section["setting"]
    runs = ", ".join(dict.fromkeys(row["run"] for row in rows.values()))
    console.print(
        f"\n{title}\n{where['gpu']}, {where['cores']} cores, torch {where['torch']}, "
        f"{how['dtype']}, {how['size_px']} px, {how['steps']} steps; {runs}"
    )
    columns = list(dict.fromkeys(name for row in rows.values() for name in row if name != "run"))
    table = Table("", *columns, box=MARKDOWN)
    for name, row in rows.items():
        table.add_row(name, *(_cell(row.get(column, "")) for column in columns))
    console.print(table)
    if "error" in section:
        console.print(f"the section ended early: {section['error']}", markup=False)
    for each in section["aims"]:
        told = {True: "met", False: "MISSED", None: "not judged: no full-size run on a GPU"}
        console.print(
            f"aim: {each['what']} {each['aim']}, here {each['figure']}: {told[each['met']]}"
        )


def _cell(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
