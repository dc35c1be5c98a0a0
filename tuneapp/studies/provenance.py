"""Where a result comes from: command, versions, machine and code, kept in run.json beside the request."""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

DECISIVE = ("ray", "torch", "torchvision", "bayesian-optimization", "scikit-learn", "numpy", "scipy")


def provenance(argv: list[str]) -> dict[str, Any]:
    return {
        "argv": argv,
        "folder": str(Path.cwd()),
        "versions": versions(),
        "machine": machine(),
        "commit": git_commit(Path.cwd()),
    }


def versions() -> dict[str, str]:
    """Of tuneapp, Python and what decides results; read from metadata, so that nothing is imported."""
    versions = {"python": platform.python_version()}
    for package in ("tuneapp", *DECISIVE):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def machine() -> dict[str, Any]:
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": _gpus(),
    }


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def git_commit(folder: Path) -> str | None:
    """The commit of the user's code, with `-dirty` where files were changed; None outside a repository."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return described.stdout.strip() or None


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _gpus() -> list[str]:
    """Names as the driver tells them, without importing torch; empty where there is none."""
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return (
        [line.strip() for line in listed.stdout.splitlines() if line.strip()]
        if listed.returncode == 0
        else []
    )
