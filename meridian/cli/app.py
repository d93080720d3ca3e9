"""The commands gathered: their options, their help, and the exit codes in words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meridian.cli import operate
from meridian.cli.complete import (
    complete_command,
    complete_node,
    complete_rule,
    complete_schema,
)
from meridian.cli.options import (
    ArgsArgument,
    OptionalTargetsArgument,
    RedactionOption,
    SocketOption,
    TargetArgument,
    TargetCommand,
    TargetsArgument,
    TargetsCommand,
    pid_option,
    seconds,
)
from meridian.cli.streams import VERSION
from meridian.observability.logging import LogLevel

# Lines end in a semicolon because older typers join them.
EPILOG = """[bold]Exit codes:[/]
0 it ran to its end, the graph is valid, or what was asked for is done;
1 the run failed, the graph is invalid, lint found errors, a process doesn't answer, or a file can't be written;
2 the command line is wrong, TARGET can't be loaded, or there is no such process;
3 a package of an extra is missing;
130, 143 SIGINT or SIGTERM came, and a run was drained and reported first."""

RUN = """Run a graph to its end, showing how it goes, and report what it did.

TARGET is a Subgraph, a Scheduler, or a function that returns one. What the graph prints goes to stdout; progress, \
tables and logs go to stderr. Ctrl-C drains and reports, a second Ctrl-C cuts that short.

Example: [bold]meridian run app.py:build --json > report.json[/]"""

VALIDATE = """Show everything that is wrong with graphs, without running them.

Each issue has a level, a code and the fix, and the line of the edge that it is about. Errors refuse a run, warnings don't; \
the exit code is 1 if there are errors, with --strict also if there are warnings.

Example: [bold]meridian validate app.py:build[/], [bold]meridian validate flows/ --strict[/]"""

LINT = """Look for smells in graphs, without running them: what may lose messages, stand still, or hold up the rest.

Each finding has a rule, its place and a fix. The exit code is 1 if there are errors, with --strict also if there are \
warnings. A comment [bold]# meridian: ignore\\[RULE] reason[/] on the line suppresses one.

Example: [bold]meridian lint app.py:build --strict[/], [bold]meridian lint flows/ other.py[/]"""

INFO = """Show version, engine and why, Python, platform, processors, and optional packages.

With --pid or --socket: what a running process says of its version, Python, and runs, each with its engine and why.

Example: [bold]meridian info --json[/]"""

NODES = """Show the nodes there are, or one with its parameters, ports and an example.

Example: [bold]meridian nodes --search window[/], [bold]meridian nodes WindowNode[/]"""

SCHEMA = "Write a graph as it was declared, or a schema that Meridian publishes."

SCHEMA_EXPORT = """Write a graph as it was declared, without running it: nodes, ports and their types, edges, policies, limits.

It is JSON that fits the published schema (meridian schema show graph), and the same for the same graph, so that two can be \
compared with diff. No values are in it: no defaults, no examples.

Example: [bold]meridian schema export app.py:build --out graph.json[/]"""

SCHEMA_SHOW = """Write a published JSON Schema: snapshot, profile, comparison, graph or bundle-manifest.

Example: [bold]meridian schema show graph[/]"""

SCAFFOLD = "Write a node or a subgraph to start from, with tests."

SCAFFOLD_NODE = """Write a node to start from; it runs as it is.

Ports are name:type, with commas between. Types are those of annotations; a dotted path names one of your own. Files that are \
there stay as they are.

Example: [bold]meridian scaffold node OrderFilter --inputs order:dict --outputs kept:int --tests[/]"""

SCAFFOLD_SUBGRAPH = """Write a subgraph to start from; it runs as it is.

Example: [bold]meridian scaffold subgraph OrderFlow --tests[/]"""

HELP = """Show the help of a command.

Example: [bold]meridian help scaffold node[/]"""

MERIDIAN = """Run Meridian graphs, check them, look at them while they run, write parts of them.

To begin: [bold]meridian scaffold subgraph OrderFlow --tests[/] writes a graph, [bold]meridian validate[/] and \
[bold]meridian lint[/] say what is wrong with one, [bold]meridian run app.py[/] runs one, [bold]meridian top[/] shows how a \
running one does. [bold]meridian COMMAND --help[/] has an example of each."""

A_GRAPH, TO_BEGIN = "A graph", "To begin with"
"""Headings of the help; that of what looks at a process stands with it."""

app = typer.Typer(
    name="meridian",
    help=MERIDIAN,
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"meridian {VERSION}")
        raise typer.Exit


@app.callback()
def meridian_command(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """See `MERIDIAN`."""
    del version


@app.command("run", cls=TargetCommand, help=RUN, rich_help_panel=A_GRAPH)
def run_command(
    target: TargetArgument,
    args: ArgsArgument = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Write the report as one JSON object to stdout; what the graph prints goes to stderr.",
        ),
    ] = False,
    timeout_s: Annotated[
        float | None,
        typer.Option(
            "--timeout-s",
            metavar="SECONDS",
            callback=seconds,
            help="Ask the run to stop after so many seconds.",
        ),
    ] = None,
    idle_timeout_s: Annotated[
        float | None,
        typer.Option(
            "--idle-timeout-s",
            metavar="SECONDS",
            callback=seconds,
            help="Stop after so many seconds without anything to do.",
        ),
    ] = None,
    shutdown_timeout_s: Annotated[
        float | None,
        typer.Option(
            "--shutdown-timeout-s",
            metavar="SECONDS",
            callback=seconds,
            help="Drain for so many seconds at most.",
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no tables; errors are still shown.")
    ] = False,
    log_level: Annotated[
        LogLevel | None,
        typer.Option(
            "--log-level",
            case_sensitive=False,
            help="What the runtime logs to stderr. WARN by default.",
            show_default=False,
        ),
    ] = None,
    inspect: Annotated[
        bool,
        typer.Option("--inspect", help="Let other processes of yours look at the run; see MERIDIAN_INSPECT."),
    ] = False,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            "--metrics-port",
            metavar="PORT",
            min=0,
            max=65535,
            help="Serve metrics for Prometheus on this machine; 0 picks a free port and says which. See MERIDIAN_METRICS_PORT.",
            show_default=False,
        ),
    ] = None,
    otel: Annotated[
        bool,
        typer.Option(
            "--otel",
            help="Send metrics, traces and logs to OpenTelemetry over OTLP, as the variables OTEL_* say; needs the extra otel.",
        ),
    ] = False,
    redaction: RedactionOption = None,
) -> None:
    """See `RUN`."""
    del redaction  # it is in force already
    from meridian.cli.run import Settings, run

    raise typer.Exit(
        run(
            target,
            args or [],
            Settings(
                as_json=as_json,
                timeout_s=timeout_s,
                idle_timeout_s=idle_timeout_s,
                shutdown_timeout_s=shutdown_timeout_s,
                quiet=quiet,
                log_level=log_level,
                inspect=inspect,
                metrics_port=metrics_port,
                otel=otel,
            ),
        )
    )


@app.command("validate", cls=TargetsCommand, help=VALIDATE, rich_help_panel=A_GRAPH)
def validate_command(
    context: typer.Context,
    targets: TargetsArgument,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the issues as one JSON object to stdout.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings fail, too.")] = False,
) -> None:
    """See `VALIDATE`."""
    from meridian.cli.validate import validate

    raise typer.Exit(validate(targets, context.args, as_json=as_json, strict=strict))


@app.command("lint", cls=TargetsCommand, help=LINT, rich_help_panel=A_GRAPH)
def lint_command(
    context: typer.Context,
    targets: OptionalTargetsArgument = None,
    select: Annotated[
        list[str] | None,
        typer.Option(
            "--select",
            metavar="RULES",
            help="Look with these rules only, with commas between; replaces what pyproject.toml selects.",
            autocompletion=complete_rule,
            show_default=False,
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            "--ignore",
            metavar="RULES",
            help="Leave these rules out, besides those that pyproject.toml ignores.",
            autocompletion=complete_rule,
            show_default=False,
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings fail, too.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the findings as one JSON object to stdout.")
    ] = False,
    as_github: Annotated[
        bool, typer.Option("--github", help="Write them as annotations, for GitHub's workflows.")
    ] = False,
    explained: Annotated[
        str | None,
        typer.Option(
            "--explain",
            metavar="RULE",
            help="Show one rule with its reason, its fix and examples.",
            autocompletion=complete_rule,
            show_default=False,
        ),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Show all rules.")] = False,
    redaction: RedactionOption = None,
) -> None:
    """See `LINT`."""
    del redaction  # it is in force already
    from meridian.cli.lint import Wishes, explain, lint_targets, list_rules

    if listed:
        raise typer.Exit(list_rules(as_json=as_json))
    if explained is not None:
        raise typer.Exit(explain(explained, as_json=as_json))
    wishes = Wishes(select or (), ignore or (), strict, as_json, as_github)
    raise typer.Exit(lint_targets(targets or (), context.args, wishes))


@app.command("info", help=INFO, rich_help_panel=TO_BEGIN)
def info_command(
    pid: Annotated[int | None, pid_option("Ask the process with this number instead.")] = None,
    socket: SocketOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write it as one JSON object to stdout.")] = False,
) -> None:
    """See `INFO`."""
    from meridian.cli.info import info

    raise typer.Exit(info(pid, socket, as_json=as_json))


@app.command("nodes", help=NODES, rich_help_panel=TO_BEGIN)
def nodes_command(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="One node, by its name.", autocompletion=complete_node, show_default=False
        ),
    ] = None,
    words: Annotated[
        str | None,
        typer.Option(
            "--search",
            metavar="WORDS",
            help="Only those whose name or description has all these words, or begins of them.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write it as one JSON object to stdout.")] = False,
    as_schema: Annotated[
        bool,
        typer.Option(
            "--schema", help="Write the JSON Schema of the parameters to stdout; of all nodes, under $defs."
        ),
    ] = False,
) -> None:
    """See `NODES`."""
    from meridian.cli.nodes import nodes

    raise typer.Exit(nodes(name, words, as_json=as_json, as_schema=as_schema))


schema_app = typer.Typer(help=SCHEMA, no_args_is_help=True)
app.add_typer(schema_app, name="schema", rich_help_panel=A_GRAPH)


@schema_app.command("export", cls=TargetCommand, help=SCHEMA_EXPORT)
def schema_export_command(
    target: TargetArgument,
    args: ArgsArgument = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Write it to a file instead of stdout.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="On one line; it is JSON in any case.")] = False,
    redaction: RedactionOption = None,
) -> None:
    """See `SCHEMA_EXPORT`."""
    del redaction  # it is in force already
    from meridian.cli.schema import export

    raise typer.Exit(export(target, args or [], out, compact=as_json))


@schema_app.command("show", help=SCHEMA_SHOW)
def schema_show_command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Which one.",
            autocompletion=complete_schema,
            show_default=False,
        ),
    ],
) -> None:
    """See `SCHEMA_SHOW`."""
    from meridian.cli.schema import show

    raise typer.Exit(show(name))


operate.register(app)

scaffold_app = typer.Typer(help=SCAFFOLD, no_args_is_help=True)
app.add_typer(scaffold_app, name="scaffold", rich_help_panel=TO_BEGIN)

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Of the class, in PascalCase.", show_default=False)
]
DirOption = Annotated[str, typer.Option("--dir", metavar="DIR", help="Folder that the package stands in.")]
TestsOption = Annotated[
    bool, typer.Option("--tests", help="Write a test, too, in a folder tests beside DIR.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace what is there under this name.")]
ScaffoldJsonOption = Annotated[
    bool, typer.Option("--json", help="Write what was made as one JSON object to stdout.")
]


@scaffold_app.command("node", help=SCAFFOLD_NODE)
def scaffold_node_command(
    name: NameArgument,
    inputs: Annotated[
        str, typer.Option("--inputs", metavar="PORTS", help="Inputs, such as 'a:int,b:str'.")
    ] = "",
    outputs: Annotated[str, typer.Option("--outputs", metavar="PORTS", help="Outputs.")] = "",
    package: Annotated[
        str, typer.Option("--package", metavar="PACKAGE", help="Dotted name of the package to write to.")
    ] = "nodes",
    folder: DirOption = "src",
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            metavar="POLICY",
            help="Overflow policy to recommend: block, drop, latest or coalesce.",
            show_default=False,
        ),
    ] = None,
    tests: TestsOption = False,
    force: ForceOption = False,
    as_json: ScaffoldJsonOption = False,
) -> None:
    """See `SCAFFOLD_NODE`."""
    from meridian.cli.scaffold import scaffold_node

    raise typer.Exit(
        scaffold_node(
            name, package, folder,
            inputs=inputs, outputs=outputs, policy=policy, tests=tests, force=force, as_json=as_json,
        )
    )  # fmt: skip


@scaffold_app.command("subgraph", help=SCAFFOLD_SUBGRAPH)
def scaffold_subgraph_command(
    name: NameArgument,
    package: Annotated[
        str, typer.Option("--package", metavar="PACKAGE", help="Dotted name of the package to write to.")
    ] = "subgraphs",
    folder: DirOption = "src",
    tests: TestsOption = False,
    force: ForceOption = False,
    as_json: ScaffoldJsonOption = False,
) -> None:
    """See `SCAFFOLD_SUBGRAPH`."""
    from meridian.cli.scaffold import scaffold_subgraph

    raise typer.Exit(scaffold_subgraph(name, package, folder, tests=tests, force=force, as_json=as_json))


@app.command("help", help=HELP, rich_help_panel=TO_BEGIN)
def help_command(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COMMAND",
            help="The command, and the one below it if there is one; all of them if left out.",
            autocompletion=complete_command,
            show_default=False,
        ),
    ] = None,
) -> None:
    """See `HELP`."""
    from meridian.cli.helping import help_of

    root = context.parent
    raise typer.Exit(help_of(context if root is None else root, names or []))
