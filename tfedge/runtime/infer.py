"""The program `tfedge-infer`."""

from __future__ import annotations

import dataclasses
import functools
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click

from tfedge import __version__
from tfedge.runtime import inputs, lines, render
from tfedge.runtime.benchmark import MAX_RUNS, benchmark
from tfedge.runtime.entities import STRATEGIES
from tfedge.runtime.errors import (
    BackendError,
    InferenceError,
    OptionError,
    TextError,
)
from tfedge.runtime.kept import drop_relative_places
from tfedge.runtime.lines import Request
from tfedge.runtime.terminal import (
    LOADING,
    PROGRAM,
    complain,
    fill_closed,
    load_model,
    loading_options,
    print_line,
    tell,
)
from tfedge.runtime.usage import HELP
from tfedge.runtime.wanted import Asked

if TYPE_CHECKING:
    from tfedge.runtime.pipeline import Input, Pipeline

WANTED = tuple(Asked.__annotations__)  # arguments of a pipeline
_MOSTLY = 0.5  # of a text's tokens being unknown, above which a person is told, not of every emoji
_ARGUMENT = re.compile(rf"(?<![\w'-])({'|'.join(WANTED)})(?=[ ;])")
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
EXIT_NO_READER = 141  # 128 + SIGPIPE


@click.command(help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option("--model", metavar="FILE", help="The .tflite file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a text and a line.")
@click.option(
    "--jsonl",
    "json_lines",
    is_flag=True,
    help='Lines of standard input are JSON: a string, or an object with "text", and with'
    ' "text_pair" for two texts that are read together (question answering: "question" and'
    ' "context"; images: "image", a path).',
)
@click.option(
    "--frames",
    metavar="FORM",
    help="A model of images answers a camera's frames from standard input, the newest always: mjpeg, or"
    " WIDTHxHEIGHT of raw rgb24 (WIDTHxHEIGHT:bgr24, WIDTHxHEIGHT:gray).",
)
@click.option(
    "--context",
    metavar="TEXT",
    help="Question answering: the context of all questions. Without it a line is QUESTION TAB CONTEXT.",
)
@click.option(
    "--pair",
    is_flag=True,
    help="Two texts an answer, that are read together (question answering: question and context): two"
    " arguments, or lines TEXT TAB TEXT.",
)
@click.option(
    "--candidate-labels",
    metavar="LABELS",
    help="Choose among these, commas between them, with a model of natural language inference"
    " (zero-shot classification).",
)
@click.option(
    "--hypothesis-template",
    metavar="TEXT",
    help='What is true of a text with a candidate label for {} (default: "This example is {}.").',
)
@click.option(
    "--multi-label",
    is_flag=True,
    default=None,
    help="Several candidate labels may be true: a probability of each by itself.",
)
@click.option(
    "--top-k",
    type=click.IntRange(min=1),
    metavar="N",
    help="Classification: the N likeliest labels (default: 1, with --json all).",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    metavar="SCORE",
    help="Object detection: what has a larger score is found (default: 0.5).",
)
@click.option(
    "--draw",
    metavar="FOLDER|FILE",
    help="Object detection: draw boxes into copies, NAME.boxes.png in a folder; of one image a .png or"
    " .jpg.",
)
@click.option(
    "--aggregation",
    type=click.Choice(STRATEGIES),
    help="Token classification: how word pieces become entities, as in transformers (default: simple).",
)
@click.option(
    "--no-answer",
    is_flag=True,
    default=None,
    help="Question answering: the answer is empty where none is likeliest; for models trained on"
    " questions without answers, as SQuAD 2 has.",
)
@loading_options
@click.option(
    "--benchmark",
    "runs",
    type=click.IntRange(1, MAX_RUNS),
    metavar="N",
    help="Print the median and 90th percentile of N timed answers to the texts (default: a built-in"
    " sentence or image) instead of the answers.",
)
@click.option(
    "--doctor",
    is_flag=True,
    help="Say what is installed, which runtime and kernels would answer, what the machine is and"
    " suffers from, and what to fix, with the command. With --model it also answers a"
    " sentence; without, it needs no model.",
)
@click.version_option(__version__, "--version", prog_name=PROGRAM, message="%(prog)s %(version)s")
def command(**options: Any) -> Callable[[], int]:
    # Only parses: click would turn Ctrl-C and a closed pipe into exit codes of its own.
    if options["model"] is None and not options["doctor"]:
        raise click.MissingParameter(param_hint="'--model'", param_type="option")
    loading = {name: options.pop(name) for name in LOADING}
    wanted = {name: options.pop(name) for name in WANTED}
    return functools.partial(execute, Options(**options, loading=loading, wanted=wanted))


@dataclasses.dataclass(frozen=True)
class Options:
    """The command line; see the options of `command`. `load` takes `loading` of it, and a pipeline
    `wanted`."""

    texts: tuple[str, ...]
    model: str | None
    as_json: bool
    json_lines: bool
    pair: bool
    context: str | None
    frames: str | None
    runs: int | None
    doctor: bool
    draw: str | None
    loading: Mapping[str, Any]
    wanted: Mapping[str, Any]


def execute(options: Options) -> int:
    """Does what the command line says; returns the exit code. Raises InferenceError where nothing
    can be answered, or answering cannot go on."""
    if options.json_lines and (options.texts or options.runs):
        raise OptionError("--jsonl is for standard input; leave it out or give no texts")
    if options.pair and (options.json_lines or options.context is not None):
        raise OptionError(
            "--pair is for arguments and plain lines; give it or --jsonl or --context"
        )
    if options.pair and options.wanted["candidate_labels"] is not None:
        raise OptionError("--candidate-labels are for one text an answer; leave --pair out")
    if options.draw is not None and (options.doctor or options.runs or options.frames):
        raise OptionError("--draw is for images; leave it, or --doctor, --benchmark, --frames, out")
    if options.doctor:
        return _examine(options)
    assert options.model is not None  # only --doctor goes without
    pipeline = load_model(options.model, options.loading)
    asked = pipeline.task.input
    if options.context is not None:
        asked.check_context(pipeline.manifest.task)
    if options.pair:
        asked.check_pair(pipeline.manifest.task)
    if options.frames is not None:
        return _answer_frames(pipeline, options, options.frames)
    if options.runs:
        return _benchmark(pipeline, options, options.runs)
    if options.texts:
        return answer_all(pipeline, map(asked.opened, _requests(options)), asked.unit, options)
    if sys.stdin is None:
        raise OptionError("no texts: standard input is closed")
    if sys.stdin.isatty():
        complain(f"reading {asked.typed} from the terminal, one per line; Ctrl-D ends")
    with lines.stop_signal() as stop:
        requests = lines.parse_lines(
            lines.read_lines(sys.stdin.fileno(), stop),
            _parser(asked, options),
            options.context,
        )
        return answer_all(pipeline, requests, "line", options)


def _answer_frames(pipeline: Pipeline, options: Options, form: str) -> int:
    from tfedge.runtime import frames

    pipeline.task.input.check_frames(pipeline.manifest.task)
    if options.texts or options.json_lines or options.runs:
        raise OptionError(
            "--frames come from standard input; leave paths, --jsonl and --benchmark out"
        )
    parsed = frames.Form.parse(form)
    if sys.stdin is None:
        raise OptionError("no frames: standard input is closed")
    with lines.stop_signal() as stop:
        requests = frames.requests(sys.stdin.fileno(), stop, parsed)
        return answer_all(pipeline, requests, "frame", options)


def _requests(options: Options) -> list[Request]:
    """What the arguments ask."""
    texts = options.texts
    if not options.pair:
        return [Request(text, options.context) for text in texts]
    if len(texts) % 2:
        raise OptionError(f"--pair takes two texts for each answer; {len(texts)} are given")
    return [Request(*two) for two in zip(texts[::2], texts[1::2])]


def _parser(asked: inputs.Input, options: Options) -> Callable[[str, str | None], inputs.Line]:
    if options.json_lines:
        return asked.parse_json
    return asked.parse_pair if options.pair else asked.parse


def _examine(options: Options) -> int:
    # What it imports would stay in memory, on a board, of every other run.
    from tfedge.runtime.doctor import examine

    if options.texts or options.runs:
        raise OptionError("--doctor answers a sentence of its own; leave texts and --benchmark out")
    report = examine(options.model, **options.loading)
    print_line(render.report_as_json(report) if options.as_json else render.report_as_text(report))
    return 0 if report.can_answer else BackendError.exit_code


def _benchmark(pipeline: Pipeline, options: Options, runs: int) -> int:
    if options.wanted["candidate_labels"] is not None:
        raise OptionError("--benchmark times no --candidate-labels; time one with --pair")
    items: list[Input] = [request.item for request in _requests(options)]
    if options.pair and not items:
        items = [inputs.PAIR.example(None)]
    timing = benchmark(pipeline, items, runs)
    fields = dataclasses.asdict(timing)
    print_line(render.as_json(fields) if options.as_json else render.timing_as_text(timing))
    return 0


def answer_all(pipeline: Pipeline, requests: Iterator[Request], unit: str, options: Options) -> int:
    """Prints an answer for each request as it comes.

    Args:
        unit: what a request is to the user, "text", "image" or "line"; for messages.

    Returns:
        The exit code: 0, or 1 where a request could not be answered.
    """
    wanted = {} if options.as_json else dict(pipeline.task.options)
    wanted.update((name, value) for name, value in options.wanted.items() if value is not None)
    draw = _drawing(pipeline, options)
    code = 0
    for number, request in enumerate(requests, 1):
        try:
            if request.error is not None:
                raise TextError(request.error)
            answer = pipeline(request.item, **wanted)
            if draw is not None:
                draw(request.item, answer["objects"])
        except TextError as error:
            answer = {**pipeline.task.input.named(request.item), "error": str(error)}
        print_line(
            render.as_json({**request.rest, **answer})
            if options.as_json
            else render.as_text(answer, pipeline.task)
        )
        if "error" in answer:
            code = TextError.exit_code
            complain(f"{unit} {number}: {answer['error']}")
        elif "truncated" in answer and not options.as_json:
            limit, kept = pipeline.max_length, pipeline.kept
            complain(f"{unit} {number}: longer than {limit} tokens, answered by its {kept}")
        if answer.get("unknown_share", 0.0) > _MOSTLY and not options.as_json:
            complain(f"{unit} {number}: {_many_unknown(answer['unknown_share'])}")
    return code


def _drawing(
    pipeline: Pipeline, options: Options
) -> Callable[[Any, Sequence[Mapping[str, Any]]], None] | None:
    """What draws the objects of an answer into a copy of its image, where that is asked for."""
    if options.draw is None:
        return None
    if "pred_boxes" not in pipeline.task.outputs:
        raise OptionError(f"--draw does not apply to {pipeline.manifest.task}; leave it out")
    from tfedge.runtime.draw import Drawing

    return Drawing(options.draw, options.texts).draw


def _many_unknown(share: float) -> str:
    return f"{100 * share:.0f} % of its tokens are unknown to the model, which guesses at them"


def _as_typed(message: str) -> str:
    """A message with the arguments of a pipeline as the options that they are on a command line."""
    return _ARGUMENT.sub(lambda found: "--" + found[0].replace("_", "-"), message)


def run(arguments: Sequence[str]) -> int:
    """Runs the program and returns its exit code."""
    arguments, chosen, name = list(arguments), command, PROGRAM
    if arguments[:1] in (["index"], ["search"]):
        from tfedge.runtime.search_commands import COMMANDS

        chosen, name = COMMANDS[arguments[0]], f"{PROGRAM} {arguments.pop(0)}"
    try:
        job = chosen.main(arguments, prog_name=name, standalone_mode=False)
        # --help and --version give an exit code instead.
        return int(job() if callable(job) else job or 0)
    except InferenceError as error:
        is_option = isinstance(error, OptionError)
        complain(_as_typed(str(error)) if is_option else str(error))
        return error.exit_code
    except click.ClickException as error:
        complain(f"{error.format_message().rstrip('.')} (see {name} --help)")
        return OptionError.exit_code
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return EXIT_NO_READER
    except (SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # the panics of tokenizers are no Exceptions
        return tell(error, name)


def main(heeds_interrupts: bool = False) -> NoReturn:
    """Entry point; whether interrupts end the process so far, see `tfedge.start`."""
    drop_relative_places()
    fill_closed("stdout")
    warnings.showwarning = lambda message, *_, **__: complain(str(message))
    try:
        code = run(sys.argv[1:])
        if heeds_interrupts:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing is left to be told
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    main()
