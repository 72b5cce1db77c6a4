"""Pinned packages as data: fetched with the ordinary clients, checked, unpacked; nothing is installed.

    folder = packages.deb("unicode-data", "15.0.0-1", sha256)      the package's file tree
    folder = packages.npm("@iconify/json", "2.2.535", sha256)      holds package/

They stay under $DATA_CACHE (default ~/.cache/evograd/data), so a second call costs nothing. A package that is not there,
or is not the one that was pinned, is a SystemExit that says which and what to do.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile

CACHE = pathlib.Path(os.environ.get("DATA_CACHE") or pathlib.Path.home() / ".cache" / "evograd" / "data")


def deb(name, version, sha256):
    return _package("deb", name, version, sha256, ["apt-get", "download", f"{name}={version}"], "*.deb", _unpack_deb)


def npm(name, version, sha256):
    return _package("npm", name, version, sha256, ["npm", "pack", "--silent", f"{name}@{version}"], "*.tgz", _unpack_tar)


def _package(kind, name, version, sha256, command, pattern, unpack):
    folder = CACHE / f"{kind}-{name.replace('/', '_')}-{version.replace(':', '_')}-{sha256[:12]}"
    if folder.exists():
        return folder
    print(f"fetching {name} {version}", file=sys.stderr, flush=True)
    part = folder.with_name(folder.name + f".part{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)
    (part / "tree").mkdir(parents=True)
    try:
        _run(command, part, f"{name} {version} could not be fetched")
        (archive,) = part.glob(pattern)
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != sha256:
            raise SystemExit(f"{name} {version}: SHA-256 {found} where {sha256} is expected; it is not the pinned package")
        unpack(archive, part / "tree")
        if not folder.exists():
            (part / "tree").rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _run(command, folder, what):
    try:
        run = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except FileNotFoundError:
        raise SystemExit(f"{what}: there is no {command[0]} on this machine; install it") from None
    if run.returncode:
        last = run.stdout.strip().splitlines()[-3:]
        raise SystemExit(f"{what} (is there a network, and `apt-get update` done?):\n  " + "\n  ".join(last))


def _unpack_deb(archive, folder):
    _run(["dpkg-deb", "-x", str(archive), str(folder)], folder, f"{archive.name} could not be unpacked")


def _unpack_tar(archive, folder):
    with tarfile.open(archive) as tar:
        for member in tar:
            path = pathlib.PurePosixPath(member.name)
            if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
                raise SystemExit(f"{archive.name}: {member.name} has no place in a package of data")
            tar.extract(member, folder)
