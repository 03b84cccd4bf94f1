"""What the contestants are made of, from package registries into one folder.

Each piece is made once for a recipe (the text that names its versions) and kept until the recipe
changes. A piece that was not finished is made anew.
"""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable

PEERS = pathlib.Path(__file__).resolve().parent.parent
REPOSITORY = PEERS.parent.parent



class CannotInstall(Exception):
    """Something could not be made here; the message says what and why."""


def target_dir() -> pathlib.Path:
    """Returns the directory that cargo builds into."""
    found = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1"],
        cwd=REPOSITORY, check=True, capture_output=True, text=True,
    )
    return pathlib.Path(json.loads(found.stdout)["target_directory"])


def cache_dir() -> pathlib.Path:
    """Returns where everything is kept: TRUEUP_PEERS_CACHE, or a folder of the target directory."""
    named = os.environ.get("TRUEUP_PEERS_CACHE")
    return pathlib.Path(named).resolve() if named else target_dir() / "peers"


def trueup() -> pathlib.Path:
    """Builds trueup as it is released, which takes no time where nothing has changed."""
    quietly(["cargo", "build", "--release", "--locked", "--bin", "trueup"], cwd=REPOSITORY)
    return target_dir() / "release" / "trueup"


def python(peer: str) -> pathlib.Path:
    """Returns a Python that has what the peer's requirements name."""
    requirements = PEERS / peer / "requirements.txt"

    def make(folder: pathlib.Path) -> None:
        quietly([sys.executable, "-m", "venv", folder])
        # Only wheels: what had to be compiled would need a toolchain and take very long.
        pip = [folder / "bin" / "python", "-m", "pip", "install", "-q", "--only-binary", ":all:"]
        quietly([*pip, "--disable-pip-version-check", "-r", requirements])

    return prepared(f"{peer}-python", requirements.read_bytes(), make) / "bin" / "python"


def java(pom: pathlib.Path, name: str, sources: list[pathlib.Path]) -> str:
    """Downloads what a pom names, compiles the sources with it, and returns the class path."""
    recipe = b"".join(file.read_bytes() for file in [pom, *sources])

    def make(folder: pathlib.Path) -> None:
        # In a folder of its own, so that Maven writes nothing beside the sources.
        shutil.copyfile(pom, folder / "pom.xml")
        copy = ["mvn", "-q", "-B", "dependency:copy-dependencies"]
        quietly([*copy, f"-DoutputDirectory={folder / 'jars'}"], cwd=folder)
        (folder / "classes").mkdir()
        if sources:
            compiler = ["javac", "-nowarn", "-cp", folder / "jars" / "*"]
            quietly([*compiler, "-d", folder / "classes", *sources])

    folder = prepared(name, recipe, make)
    return f"{folder / 'classes'}:{folder / 'jars'}/*"


def java_sources(peer: str) -> list[pathlib.Path]:
    """Returns the sources of a peer in Java."""
    return sorted((PEERS / peer / "src" / "main" / "java").glob("*.java"))


def dbsp() -> pathlib.Path:
    """Builds the program of Feldera's engine; cargo itself knows what has changed."""
    target = cache_dir() / "dbsp"
    manifest = PEERS / "dbsp" / "Cargo.toml"
    build = ["cargo", "build", "--release", "--locked", "--manifest-path", manifest]
    # The profile of the environment is trueup's affair, the target directory is ours.
    quietly([*build, "--target-dir", target], cwd=PEERS / "dbsp")
    return target / "release" / "peer-dbsp"


def prepared(name: str, recipe: bytes, make: Callable[[pathlib.Path], None]) -> pathlib.Path:
    """Returns the folder that `make` filled for this recipe, now or earlier."""
    folder = cache_dir() / f"{name}-{hashlib.sha256(recipe).hexdigest()[:12]}"
    # Written last: a folder without it was left unfinished.
    done = folder / ".complete"
    if done.exists():
        return folder
    print(f"installing {name}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    make(folder)
    done.touch()
    return folder


def quietly(command: list, cwd: pathlib.Path | None = None) -> None:
    """Runs a command whose output matters only where it fails."""
    command = [str(part) for part in command]
    try:
        done = subprocess.run(
            command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    except FileNotFoundError as missing:
        raise CannotInstall(f"`{command[0]}` is needed and not here") from missing
    if done.returncode != 0:
        raise CannotInstall(f"this failed: {' '.join(command)}\n{done.stdout.strip()[-2000:]}")


def output(command: list) -> str:
    """Returns what a command says."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def package_version(interpreter: pathlib.Path, package: str) -> str:
    """Returns the version of a package that a Python has."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return output([interpreter, "-c", code])


def revision() -> str:
    """Returns the commit of this checkout, and whether it was changed since."""
    return output(["git", "-C", REPOSITORY, "describe", "--always", "--dirty", "--exclude", "*"])
