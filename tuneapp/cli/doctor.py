"""`tuneapp doctor`: is this machine fit?"""

import typer

from tuneapp.cli import options


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(
    address: options.Address = None,
    data_dir: options.DataDir = None,
    runs_dir: options.RunsDir = options.RUNS,
) -> None:
    """Look at this machine, start Ray once, and say what is broken and what could be better."""
    from rich.console import Console
    from rich.markup import escape

    from tuneapp.backends.doctor import examine

    console = Console(highlight=False, soft_wrap=True)
    findings = []
    with Console(stderr=True).status("looking"):
        for finding in examine(data_dir, runs_dir, address):
            mark = "✗" if finding.broken else "!" if finding.advice else "✓"
            console.print(f"{mark} {finding.about}: {escape(finding.found)}")
            if finding.advice:
                console.print(f"    {escape(finding.advice)}")
            findings.append(finding)
    broken = [finding.about for finding in findings if finding.broken]
    if broken:
        console.print(f"Broken: {', '.join(broken)}.")
        raise typer.Exit(1)
    console.print("All that tuneapp needs works.")
