"""What is asked for: a job, its model and a folder; and the keys by which the same request is known again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from models.card import Card
from models.catalogue import CATALOGUE
from models.classical.card import fit_arguments
from models.extensions import ANALYSES, PREDICTORS, PRODUCTS, extensions
from models.registry import card_without_weights, is_without_weights, require_weights, resolve_model
from tasks.errors import JobError
from tasks.files.keys import institution_key
from tasks.jobs.instances import InstanceRules, PanopticRules, PanopticSettings, instance_rules, panoptic_rules
from tasks.jobs.job import Job
from tasks.out.folder import OutFolder

# Of a model's classes, in an error.
_MOST_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Request:
    """What every scene of a run has in common.

    Attributes:
        job: As the user wrote it, overrides applied.
        card: Of the model that segments.
        card_folder: Where its weights lie; None for models without.
        out: Where products go.
        today: ISO date that counts as today's where a night is run that is not tonight's; no part of the key.
        institution: Id of the institution's key, where results are made with it; never the key.
    """

    job: Job
    card: Card
    card_folder: Path | None
    out: OutFolder
    today: str | None = None
    institution: str | None = None

    def key(self, input_sha256: str) -> str:
        """Return the hash of an input, the model and the job: an answered request is not worked on again."""
        # Neither the block nor the number of threads changes what is asked for, nor does which scenes are refused, nor
        # what comes after the scene. What is done to its files before is seen in the input's hash.
        later = {} if self.job.analysis is None else {"analysis": set(self.job.analysis.later_keys)}
        job = self.job.model_dump(
            mode="json",
            exclude={"tiling": {"block"}, "run": {"threads", "strict"}, "nightly": True, "deidentify": True, **later},
        )
        if self.job.output.dicom is None:
            # What earlier versions made without it is not made again.
            del job["output"]["dicom"]
        elif not self.job.output.dicom.capture:
            del job["output"]["dicom"]["capture"]
        if not self.job.output.also:
            del job["output"]["also"]
        made_with: dict[str, Any] = {} if self.institution is None else {"institution": self.institution}
        if origins := self._origins():
            made_with["extensions"] = origins
        return digest(
            {
                **made_with,
                "input": input_sha256,
                "card": self.card.model_dump(mode="json", exclude={"training"}),
                # Products show it; the rest of what a card tells of its training they do not.
                "attribution": self.card.training.attribution if self.card.training else None,
                "job": job,
                "swathe": version("swathe"),
            }
        )

    def _origins(self) -> list[str]:
        """Return what other packages add to this request, and which versions of them."""
        analysis = "" if self.job.analysis is None else self.job.analysis.kind
        used = {ANALYSES: (analysis,), PREDICTORS: (self.card.network.name,), PRODUCTS: self.job.output.also}
        return [
            f"{group} {name}: {extensions(group)[name].origin}"
            for group, names in used.items()
            for name in names
            if name in extensions(group)
        ]

    @property
    def ticket_key(self) -> str:
        """What two runs have to have in common to do each other's scenes: the request, and how strict they are."""
        return digest({"request": self.key(""), "strict": self.job.run.strict})


def make_request(job: Job, out: Path | None, model: str | None = None) -> Request:
    """Find the job's model and check that the two go together.

    Args:
        job: What to do.
        out: Where products go; None for who only looks, for which no key is asked, or made.
        model: A name or path that overrides the job's model.

    Raises:
        JobError: When the job and the model do not go together.
        ModelError: When there is no such model, or it is damaged.
        KeyFileError: When results are to be made with the institution's key, and it cannot be used.
    """
    card, folder = _find_model(job, model)
    if card.kind != job.kind:
        raise JobError(
            f"job '{job.job}' is of kind '{job.kind}', model '{card.name}' segments a {card.kind}; change one of them"
        )
    if job.output.instances is not None and fit_arguments(card) is None:
        check_instances(job, card)
    check_panoptic(job, card)
    check_analysis(job, card)
    # Workers have working directories of their own.
    found = None if folder is None else folder.resolve()
    institution = None if job.output.dicom is None or out is None else institution_key(out).id
    products = OutFolder((out or Path()).resolve())
    return Request(job=job, card=card, card_folder=found, out=products, institution=institution)


def check_analysis(job: Job, card: Card) -> None:
    """Refuse an analysis that asks about classes that the model does not have.

    Of a model that is fitted to each scene the classes are not known before.

    Raises:
        JobError: When it does.
    """
    analysis = job.analysis
    if analysis is None or fit_arguments(card) is not None:
        return
    names = {number: entry.name for number, entry in enumerate(card.classes)}
    shown = ", ".join(f"{number} {name}" for number, name in list(names.items())[:_MOST_SHOWN])
    shown += f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    unknown = analysis.unknown_classes(names)
    if unknown is not None:
        raise JobError(
            f"job '{job.job}': {unknown}, and model '{card.name}' has the classes {shown}; name one of those"
        )


def check_instances(job: Job, card: Card, spacing_mm: tuple[float, ...] | None = None) -> InstanceRules | None:
    """Return how the objects of the class map are told apart; None where the job does not ask.

    Args:
        job: What to do.
        card: Of the model, with the classes that it has.
        spacing_mm: Of a volume; a millimetre along each axis where it is not known yet.

    Raises:
        JobError: When the job asks for what the model does not have.
    """
    settings = job.output.instances
    if settings is None:
        return None
    if card.network.name in CATALOGUE and CATALOGUE[card.network.name].answer != "semantic":
        raise JobError(
            f"job '{job.job}': output.instances tells objects of a class map apart, and model '{card.name}' finds "
            "objects itself. Leave output.instances out"
        )
    if card.largest or card.labels_on_own_grid:
        raise JobError(
            f"job '{job.job}': model '{card.name}' keeps parts of its classes by itself, and output.instances would "
            "tell apart what it leaves out. Leave output.instances out"
        )
    cubes = (1.0, 1.0, 1.0) if card.kind == "volume" else None
    return instance_rules(settings, [entry.name for entry in card.classes], spacing_mm or cubes)


def check_panoptic(job: Job, card: Card) -> PanopticRules | None:
    """Return how the objects and classes of a panoptic model become one; None for other models.

    Raises:
        JobError: When the job asks for it and the model is another.
        CardError: When the card names no things.
    """
    name = card.network.name
    if name in CATALOGUE and CATALOGUE[name].answer == "panoptic":
        return panoptic_rules(job.output.panoptic or PanopticSettings(), card.classes)
    if job.output.panoptic is not None:
        raise JobError(f"job '{job.job}': output.panoptic is for panoptic models, and '{card.name}' is none")
    return None


def _find_model(job: Job, override: str | None) -> tuple[Card, Path | None]:
    choice = job.model
    name = override or choice.name or choice.weights
    if name is None:
        raise JobError(f"job '{job.job}': model names nothing; give model.name or model.weights")
    if is_without_weights(name):
        if choice.sha256 is not None and override is None:
            raise JobError(f"job '{job.job}': model.sha256 is of weights, and '{name}' has none; leave it out")
        files = tuple(job.source.files) if job.kind == "volume" else ()
        channels = tuple(job.source.bands) or files or ("1",)
        usable = tuple(c for c in channels if c not in {rule.band for rule in job.source.invalid})
        return card_without_weights(name, choice.arguments, usable, job.kind), None
    card, folder = resolve_model(name, None if override else choice.sha256)
    require_weights(card, folder)
    return (card if override else _with_arguments(card, choice.arguments)), folder


def _with_arguments(card: Card, arguments: Mapping[str, Any]) -> Card:
    network = card.network.model_copy(update={"arguments": {**card.network.arguments, **arguments}})
    return card.model_copy(update={"network": network})


def digest(facts: Any) -> str:  # noqa: ANN401 - anything that JSON can say
    """Return 16 hexadecimal digits that change when any of the facts does."""
    text = json.dumps(facts, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
