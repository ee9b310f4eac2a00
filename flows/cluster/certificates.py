"""Certificates for Dask's parts on one machine: whoever has none is not let in, whatever user it is."""

from __future__ import annotations

from pathlib import Path

import yaml
from distributed import Security

from tasks.files.private import private_file, private_folder

_ROLES = ("scheduler", "worker", "client")


def new_security() -> Security:
    """Return a certificate and its key, made anew, for every part of one cluster; they are in memory alone."""
    security: Security = Security.temporary()
    return security


def write_certificates(settings: Path) -> None:
    """Make a certificate anew, for processes that are started one by one.

    Args:
        settings: File for ``DASK_CONFIG`` that names the certificate and its key, which lie beside it. This user alone
            may read its folder.
    """
    made = new_security().get_tls_config_for_role("scheduler")
    folder = private_folder(settings.parent)
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    private_file(certificate, made["ca_file"])
    private_file(key, made["key"])
    roles = {role: {"cert": str(certificate), "key": str(key)} for role in _ROLES}
    tls = {"require-encryption": True, "tls": {"ca-file": str(certificate), **roles}}
    private_file(settings, yaml.safe_dump({"distributed": {"comm": tls}}))
