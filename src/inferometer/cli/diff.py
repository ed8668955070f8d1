"""``inferometer diff``: two audits compared."""

from __future__ import annotations

import click

from inferometer.cli.options import json_option, print_json


@click.command("diff")
@click.argument("before_file", metavar="A.json", type=click.Path())
@click.argument("after_file", metavar="B.json", type=click.Path())
@click.option("--markdown", is_flag=True, help="Print Markdown for a pull request.")
@json_option
def command(before_file: str, after_file: str, markdown: bool, as_json: bool) -> None:
    """Compare two audits: figures, the bridge between their bills, waste that came and went."""
    from inferometer.analyzer.audit_diff import diff
    from inferometer.analyzer.budget import load_audit

    document = diff(load_audit(before_file), load_audit(after_file))
    if as_json:
        print_json(document)
        return
    from inferometer.reports.diff_text import diff_markdown, print_diff

    if markdown:
        click.echo(diff_markdown(document), nl=False)
    else:
        print_diff(document)
