"""The Java that Spark will start, checked before anything else happens.

Needs the standard library only. ``python3 -m engine.storage.java`` works on a bare clone: it prints
nothing when Java can be used, and one sentence with the command to install it when not.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence

from engine.errors import EngineError, SetupError

USABLE = range(17, 22)
"""Major versions that Spark 4.1 runs on; 17 and 21 are the ones with long-term support."""

_INSTALL = {
    "debian": "sudo apt-get install openjdk-17-jre-headless",
    "debian 13": "sudo apt-get install openjdk-21-jre-headless",
    "ubuntu": "sudo apt-get install openjdk-17-jre-headless",
    "fedora": "sudo dnf install java-21-openjdk-headless",
    "rhel": "sudo dnf install java-21-openjdk-headless",
    "amzn": "sudo dnf install java-21-amazon-corretto-headless",
    "alpine": "sudo apk add openjdk17-jre-headless",
    "Darwin": "brew install --cask temurin@17",
    "Windows": "winget install EclipseAdoptium.Temurin.17.JRE",
}
_INSTALL_ANYWHERE = "your package manager (a package such as openjdk-17-jre-headless)"


def system_names() -> list[str]:
    """Return the names of this system, the most specific first.

    On Linux they come from the fields ID, VERSION_ID and ID_LIKE of ``/etc/os-release``.
    """
    names = [platform.system()]
    if names == ["Linux"]:
        try:
            release = platform.freedesktop_os_release()
        except OSError:
            return names
        system, version = release.get("ID", ""), release.get("VERSION_ID", "")
        names = [f"{system} {version}", system, *release.get("ID_LIKE", "").split(), *names]
    return names


def install_command(names: Sequence[str]) -> str:
    """Return the command that installs a Java for Spark on the first system known by name.

    Examples
    --------
    >>> install_command(["linuxmint 22", "linuxmint", "ubuntu", "debian", "Linux"])
    'sudo apt-get install openjdk-17-jre-headless'
    """
    return next((_INSTALL[n] for n in names if n in _INSTALL), _INSTALL_ANYWHERE)


def java_version(java: str) -> int | None:
    """Return the major version that a java reports, or None if it reports none.

    Java 8 and older call themselves 1.8 and so on.
    """
    try:
        ran = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r'version "(?:1\.)?(\d+)', ran.stderr + ran.stdout)
    return int(version[1]) if version else None


def java_path() -> str | None:
    """Return the java that Spark's launcher takes: that in JAVA_HOME, else the one on PATH."""
    home = os.environ.get("JAVA_HOME")
    return shutil.which(os.path.join(home, "bin", "java") if home else "java")


def check_java() -> int:
    """Return the major version of the Java that Spark will use.

    Raises
    ------
    SetupError
        If there is none.
        If it doesn't run, or isn't one of the versions that Spark can use.
    """
    java = java_path()
    if java is None:
        home = os.environ.get("JAVA_HOME")
        problem = (
            f"JAVA_HOME is {home!r}, which has no bin/java: correct or unset it, or"
            if home
            else "JAVA_HOME is not set and there is no java on PATH:"
        )
        command = install_command(system_names())
        raise SetupError(f"Spark needs Java 17 or 21, and {problem} install one with `{command}`")
    version = java_version(java)
    if version is None or version not in USABLE:
        problem = "does not run" if version is None else f"is version {version}"
        raise SetupError(
            f"Spark needs Java 17 or 21, and {java} {problem}: install one with "
            f"`{install_command(system_names())}`, and set JAVA_HOME to its folder"
        )
    return version


def main() -> int:
    """Check Java; print one sentence and return 1 if Spark can't use it."""
    try:
        check_java()
    except EngineError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
