"""Which file of a volume scene is which channel of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tasks.errors import BandError
from tasks.jobs.source import Source


def files_by_channel(name: str, files: Mapping[str, str], source: Source, channels: Sequence[str]) -> list[str]:
    """Return the files of a scene in the order of a model's channels.

    By ``source.bands``, whose entries name roles, or by roles that are called like channels; else in the order of the
    roles.

    Args:
        name: Of the scene, for errors.
        files: By role.
        source: Of the job.
        channels: Names of the model's channels in order.

    Raises:
        BandError: When there are not as many files as channels, or some roles are channels and others are not.
    """
    if len(files) != len(channels):
        raise BandError(
            f"{name}: the model reads {len(channels)} channel(s) ({', '.join(channels)}), and the scene has "
            f"{len(files)} file(s) ({', '.join(files)}). Name a file per channel under source.files, or take another "
            "model"
        )
    named = {channel: source.bands[channel].file for channel in channels if channel in source.bands}
    roles = {role.casefold(): role for role in files}
    found = {channel: named.get(channel) or roles.get(channel.casefold()) for channel in channels}
    if not any(found.values()) or len(channels) == 1:
        return list(files.values())
    missing = [channel for channel, role in found.items() if role not in files]
    if missing or len(set(found.values())) < len(channels):
        raise BandError(
            f"{name}: no file of its own for channel(s) {', '.join(missing or channels)}; the files are "
            f"{', '.join(files)}. Call the roles under source.files like the channels, or name them under source.bands"
        )
    return [files[role] for role in found.values() if role is not None]


def require_one_channel(name: str, channels: Sequence[str]) -> None:
    """Refuse a series of DICOM where a model reads several channels: which series belong together nobody says.

    Raises:
        BandError: With what to do.
    """
    if len(channels) != 1:
        raise BandError(
            f"{name}: the model reads {len(channels)} channels ({', '.join(channels)}), and a series of DICOM is one. "
            "Write the series as NIfTI and name a file per channel under source.files, or take a model of one channel"
        )
