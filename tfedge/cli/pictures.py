"""What `tfedge finetune` does otherwise with a model of images: options, and pixels to train on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tfedge.errors import InputError
from tfedge.models.hub import resolve
from tfedge.models.preprocessor import read_preprocessor
from tfedge.models.stored import Checkpoint
from tfedge.notes import note
from tfedge.progress import ProgressBar
from tfedge.tasks.base import Rows
from tfedge.train.image_options import CHANGES, ImageOptions
from tfedge.train.usual import HEAD_EPOCHS, HEAD_RATE, IMAGE_RATE

FROZEN, TRAINED = "frozen", "trained"
IMAGE_OPTIONS = ("trunk", "augment")  # the options of such a model alone
_OF_TEXTS = ("max_length", "text_column", "pair_column", "label_column", "out_of_scope")
# By what a model reads, which others there are, and what is for them.
_OF_OTHERS = {"images": ("texts", _OF_TEXTS), "texts": ("images", IMAGE_OPTIONS)}
_NONE = "none"
_FEW = 10  # images of a label
_NAMED = 5  # labels, in a message


def image_options(
    model: str, command: click.Command, settings: Mapping[str, Any]
) -> ImageOptions | None:
    """Those that the settings of `command` give; None for a model of texts.

    Raises InputError for options that are for models of the other kind, or contradict each other.
    """
    config = Checkpoint(resolve(model).folder).config
    reads = config.architecture.reads
    kind, others = _OF_OTHERS[reads]
    context = click.Context(command)
    for option in command.params:
        name = str(option.name)
        if name in others and settings[name] not in (None, option.get_default(context)):
            raise InputError(
                f"{option.opts[0]} is for models of {kind}, and a {config.model_type} reads {reads}; "
                "leave it out"
            )
    if reads == "texts":
        return None
    is_trained = settings["trunk"] == TRAINED
    if settings["augment"] is None:
        return ImageOptions(is_trained)
    if not is_trained:
        raise InputError(
            f"--augment {settings['augment']} needs --trunk {TRAINED}: of a frozen one the features of "
            "an image are computed once"
        )
    return ImageOptions(is_trained, _changes(settings["augment"]))


def _changes(given: str) -> tuple[str, ...]:
    names = [name.strip() for name in given.split(",")]
    if names == [_NONE]:
        return ()
    unknown = [name for name in names if name not in CHANGES]
    if unknown:
        raise InputError(
            f"--augment has {unknown[0]!r}; give some of {', '.join(CHANGES)}, or {_NONE}"
        )
    return tuple(name for name in CHANGES if name in names)


def read_pictures(folder: Path, rows: Rows, held_out: Rows | None) -> tuple[Rows, Rows | None]:
    """The rows with pixels in place of paths, as the checkpoint in `folder` has them.

    Notes tell of images that cannot be read, and of labels that few have. Raises InputError where a
    label, or all of them, have none that can be.
    """
    from tfedge.data.images import decoded

    settings = read_preprocessor(folder, Checkpoint(folder).config)
    with ProgressBar("reading images", len(rows) + len(held_out or ())) as bar:
        found = decoded(rows, settings, bar.advance)
        if held_out is not None:
            held_out = decoded(held_out, settings, bar.advance)
    lost = sorted(set(rows.truth or ()) - set(found.truth or ()))
    if lost:
        raise InputError(f"{rows.source} has no image of the label {lost[0]!r} that can be read")
    few = [f"{label} ({n})" for label, n in Counter(found.truth).items() if n < _FEW]
    if few:
        note(
            f"{rows.source} has fewer than {_FEW} images to train on of the labels "
            f"{', '.join(few[:_NAMED])}{', ...' if len(few) > _NAMED else ''}: more of them would help "
            "most"
        )
    return found, held_out


def settle_images(settings: dict[str, Any], images: ImageOptions) -> None:
    """How long and how fast to train, where `settings` leave it open."""
    if images.trains_trunk:
        settings["learning_rate"] = settings["learning_rate"] or IMAGE_RATE
        return
    settings["epochs"] = settings["epochs"] or HEAD_EPOCHS
    settings["learning_rate"] = settings["learning_rate"] or HEAD_RATE
