"""The command that makes a vocabulary smaller: trim."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tfedge.cli.options import NEW, columns, echo_report, take
from tfedge.cli.summary import trimming_summary

if TYPE_CHECKING:
    from tfedge.data.texts import Texts
    from tfedge.train.trim import Trimming


@click.command()
@click.argument("model")
@click.option(
    "--keep-texts",
    help="Texts like those that the model will read, as --data of tfedge finetune. The pieces that "
    "they use stay, the most frequent first; before them single characters, to spell others with.",
)
@click.option(
    "--languages",
    metavar="CODE,CODE,...",
    help="Codes of ISO 639-1, such as de,en: pieces stay that have no other letters than these "
    "languages, in the vocabulary's own order, which is by frequency over all its languages. With "
    "--keep-texts they fill what room its texts leave.",
)
@click.option(
    "--vocab-size",
    type=click.IntRange(1),
    help="The most rows that may be left. Default: all that texts and languages ask for.",
)
@click.option(
    "--eval", "evaluation", help="Held-out texts on which, too, it is measured what is lost."
)
@columns
@click.option("--output", required=True, type=NEW, help="Folder to write.")
@click.option("--force", is_flag=True, help="Replace an existing --output.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole report.")
def trim(model: str, as_json: bool, **settings: Any) -> None:
    """Removes rows of MODEL's word table, and their pieces from its tokeniser.

    \b
    tfedge trim minilm --keep-texts texts.txt --vocab-size 8000 --output small
    tfedge trim ./xlm-r --languages de,en --vocab-size 30000 --output german-english
    tfedge convert small

    The tokeniser may be WordPiece, BPE or Unigram; special and added tokens stay. A text whose pieces
    all stay, and which has no unknown word, is answered as before to the last bit (in float). Others
    are cut into shorter pieces, or have unknown words; it is printed how many characters that concerns.
    """
    echo_report(run_trimming(model, settings), as_json, trimming_summary)


def run_trimming(model: str, settings: dict[str, Any]) -> Trimming:
    """Does what `trim` does, with its options."""
    from tfedge.cli.given import check_trains
    from tfedge.data.hub import check_data, read_data
    from tfedge.data.languages import writing_of
    from tfedge.models.hub import resolve
    from tfedge.progress import ProgressBar
    from tfedge.tasks.columns import ColumnNames
    from tfedge.train.place import refuse_existing
    from tfedge.train.trim import Wanted
    from tfedge.train.trim import trim as run

    source = resolve(model)
    check_trains(source)
    given, evaluation = settings["keep_texts"], settings["evaluation"]
    named = take(ColumnNames, settings)
    for name in filter(None, (given, evaluation)):
        check_data(name)
    refuse_existing(settings["output"], settings["force"])
    languages = [code.strip() for code in (settings["languages"] or "").split(",") if code.strip()]
    writing_of(languages)  # refused before anything is read

    def texts(name: str | None, split: str) -> Texts | None:
        return read_data(name, split, named, may_lack_labels=True) if name else None

    wanted = Wanted(texts(given, "train"), tuple(languages), settings["vocab_size"])
    held_out = texts(evaluation, "validation")
    return run(source.folder, settings["output"], wanted, held_out, ProgressBar, settings["force"])
