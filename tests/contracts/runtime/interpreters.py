"""The CPythons of this machine that the language promises to agree on, and how to run a module of this checkout under each."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[3]
VERSIONS = ("3.11", "3.12", "3.13")
# Each is built for all of these interpreters, or does without (msgpack then runs its pure form: both must give the same bytes);
# PyNaCl is here for the libsodium inside of it.
PACKAGES = ("msgpack", "google", "nacl")


def interpreters() -> dict[str, str]:
    """One working interpreter for each release of these versions, down to the last number (a fix in between counts: 3.11.5 changed
    what a pattern matches): this one, from the path, the system's own, and as pyenv knows them."""
    found = {platform.python_version(): sys.executable}
    pyenv = shutil.which("pyenv")
    names = [] if pyenv is None else _lines([pyenv, "versions", "--bare"])
    for version in VERSIONS:
        candidates = [shutil.which(f"python{version}"), f"/usr/bin/python{version}"]
        for name in names:
            if name.startswith(version + ".") and pyenv is not None:
                candidates += [f"{prefix}/bin/python" for prefix in _lines([pyenv, "prefix", name])]
        for candidate in candidates:
            release = "" if candidate is None or not Path(candidate).exists() else _release_of(candidate)
            if candidate is not None and release.startswith(version + "."):
                found.setdefault(release, candidate)
    return found


def _lines(command: list[str]) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.split() if done.returncode == 0 else []


def _release_of(python: str) -> str:
    found = _lines([python, "-c", "import platform; print(platform.python_version())"])
    return found[0] if found else ""


def start(python: str, hash_seed: str, folder: Path, module: str, *words: str) -> subprocess.Popen[str]:
    """Begins `python -m module words` on this checkout, with nothing else of this environment but PACKAGES."""
    library = folder / "library"
    if not library.exists():
        library.mkdir()
        for name in PACKAGES:
            spec = find_spec(name)
            assert spec is not None
            assert spec.submodule_search_locations is not None
            (library / name).symlink_to(next(iter(spec.submodule_search_locations)))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        "PYTHONHASHSEED": hash_seed,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(library)]),
    }
    command = [python, "-m", module, *words]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=folder
    )


def run_on_each(folder: Path, module: str, *words: str) -> dict[str, str]:
    """What the module prints under each interpreter, every one with another hash seed; at least two runs."""
    found = interpreters()
    runs = {f"{version} seed {seed}": (python, str(seed)) for seed, (version, python) in enumerate(found.items())}
    if len(found) == 1:
        version, python = next(iter(found.items()))
        runs[f"{version} seed 99"] = (python, "99")
    started = {name: start(python, seed, folder, module, *words) for name, (python, seed) in runs.items()}
    outputs = {}
    for name, process in started.items():
        out, err = process.communicate()
        assert process.returncode == 0, f"{name}: {err}"
        outputs[name] = out
    return outputs


def announce(outputs: dict[str, str]) -> str:
    """Which interpreters it was, and a word where there was only one."""
    versions = {name.split()[0] for name in outputs}
    missing = [version for version in VERSIONS if not any(v.startswith(version + ".") for v in versions)]
    return f"ran on {', '.join(outputs)}" + (f" (not found here: {', '.join(missing)})" if missing else "")
