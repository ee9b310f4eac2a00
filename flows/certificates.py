"""Certificates for Dask's parts on one machine: whoever has none is not let in, whatever user it is."""

from __future__ import annotations

from pathlib import Path

import yaml
from distributed import Security

from tasks.private import private_file, private_folder

_ROLES = ("scheduler", "worker", "client")


def new_security() -> Security:
    """Return a certificate and its key, made anew, for every part of one cluster; they are in memory alone."""
    security: Security = Security.temporary()
    return security


def write_certificates(folder: Path) -> Path:
    """Make a certificate anew, for processes that are started one by one.

    Args:
        folder: For the certificate and its key, readable for this user alone.

    Returns:
        Settings of Dask that name them, for ``DASK_CONFIG``.
    """
    made = new_security().get_tls_config_for_role("scheduler")
    private_folder(folder)
    certificate, key, settings = (folder / name for name in ("certificate.pem", "key.pem", "dask.yaml"))
    private_file(certificate, made["ca_file"])
    private_file(key, made["key"])
    roles = {role: {"cert": str(certificate), "key": str(key)} for role in _ROLES}
    tls = {"require-encryption": True, "tls": {"ca-file": str(certificate), **roles}}
    private_file(settings, yaml.safe_dump({"distributed": {"comm": tls}}))
    return settings
