"""The plan of manifest.yaml as a list of runs.

A manifest names data folders and applications; an application has cases (say, kinds of noise) and rows (say, estimators): each
pair of them is a job of the service and, where there is one, the command of a peer, for each seed. `{NAME}` stands for a data
folder, `{seed}` for the seed; in a peer's command `{job:PATH}` is the value of the row's job at a dotted path, so that both
sides get the same sizes and schedule; the command is what `peer` of the application, the row and the case say, in this order.
`prepare` lists jobs that come first, each with the checkpoint that it `creates` in the folder `{work}`.
"""

import copy
import hashlib
import json
import os
import pathlib
import re
import shlex

import yaml

APPLICATION_KEYS = {
    "title", "about", "needs", "prepare", "seeds", "metrics", "cases", "rows", "quick", "notes", "set", "compare", "peer"
}
ROW_KEYS = {"name", "job", "set", "peer", "note", "cases"}
CASE_KEYS = {"name", "title", "set", "peer"}
PREPARE_KEYS = {"creates", "job", "set"}


class ManifestError(Exception):
    pass


def read(path):
    text = pathlib.Path(path).read_text(encoding="utf8")
    manifest = yaml.safe_load(text)
    for name, application in manifest["applications"].items():
        where = f"{path}: applications.{name}"
        check_keys(application, APPLICATION_KEYS, where)
        for key in ("title", "metrics", "rows"):
            if not application.get(key):
                raise ManifestError(f"{where}: {key} is missing")
        application.setdefault("cases", [{"name": "all", "title": ""}])
        for case in application["cases"]:
            check_keys(case, CASE_KEYS, f"{where}.cases")
        for step in application.get("prepare", []):
            check_keys(step, PREPARE_KEYS, f"{where}.prepare")
        for row in application["rows"]:
            check_keys(row, ROW_KEYS, f"{where}.rows")
            if "job" not in row and "peer" not in row:
                raise ManifestError(f"{where}: row {row.get('name')} has neither a job nor a peer")
        names = [row["name"] for row in application["rows"]]
        if len(set(names)) != len(names):
            raise ManifestError(f"{where}: two rows have the same name")
        for pair in application.get("compare", []):
            if len(pair) != 2 or not set(pair) <= set(names):
                raise ManifestError(f"{where}: compare: {pair} is not two rows' names")
        for folder in application.get("needs", []):
            if folder not in manifest.get("data", {}):
                raise ManifestError(f"{where}: needs {folder}, which data does not list")
    return manifest


def check_keys(message, known, where):
    for key in message:
        if key not in known:
            raise ManifestError(f"{where}: unknown key {key}; known are {', '.join(sorted(known))}")


def folders(manifest, given):
    """Folder of each data set: from `--data NAME=FOLDER`, its environment variable, or its default."""
    out = {}
    for name, data in manifest.get("data", {}).items():
        value = given.get(name) or os.environ.get(data.get("environment", "")) or data["default"]
        out[name] = os.path.abspath(value)
    return out


def lookup(job, path):
    """The value at a dotted path, a list as words."""
    for key in path.split("."):
        if not isinstance(job, dict) or key not in job:
            raise ManifestError(f"{{job:{path}}}: this job has no {key}; set it in the manifest or the job file")
        job = job[key]
    return " ".join(map(str, job)) if isinstance(job, list) else job


def fill(value, names, job=None):
    """`{NAME}` and `{job:PATH}` replaced in all strings of a structure."""
    if isinstance(value, dict):
        return {key: fill(v, names, job) for key, v in value.items()}
    if isinstance(value, list):
        return [fill(v, names, job) for v in value]
    if not isinstance(value, str):
        return value

    def replace(match):
        if match[1].startswith("job:") and job is not None:
            return str(lookup(job, match[1][4:]))
        if match[1] not in names:
            raise ManifestError(f"{{{match[1]}}} in \"{value}\" stands for nothing; known are {', '.join(sorted(names))}")
        return str(names[match[1]])

    return re.sub(r"\{([\w.:-]+)\}", replace, value)


def override(job, changes):
    """A copy of a job with dotted paths set, `problem.rotation.test_examples: 100`; null removes."""
    job = copy.deepcopy(job)
    for path, value in (changes or {}).items():
        *parents, last = path.split(".")
        at = job
        for key in parents:
            at = at.setdefault(key, {})
            if not isinstance(at, dict):
                raise ManifestError(f"{path}: {key} is not a message in this job")
        if value is None:
            at.pop(last, None)
        else:
            at[last] = value
    return job


def runs(root, manifest, names, seeds=None, quick=False):
    """Dicts with application, case, row, seed, side, digest and `job` (a job's message) or `command` (of a peer); `kept` is the
    latter with the folders' names in braces, so that the same run on other folders is the same."""
    anywhere = expand(root, manifest, {n: f"{{{n}}}" for n in names}, seeds, quick)
    here = expand(root, manifest, names, seeds, quick)
    return [dict(run, kept=other.get("job") or other["command"], digest=digest(other)) for run, other in zip(here, anywhere)]


def job_of(root, file, changes, names):
    """The job of a file with all changes made, one after another."""
    path = pathlib.Path(root) / file
    if not path.exists():
        raise ManifestError(f"{path}: there is no such job file")
    job = yaml.safe_load(path.read_text(encoding="utf8"))
    for change in changes:
        job = override(job, fill(change or {}, names))
    return job


def expand(root, manifest, names, seeds, quick):
    out = []
    for app_name, app in manifest["applications"].items():
        short = app.get("quick", {}) if quick else {}
        for case in app["cases"]:
            for row in app["rows"]:
                if row.get("cases") and case["name"] not in row["cases"]:
                    continue
                for seed in seeds or ([1] if quick else app.get("seeds", [1, 2, 3])):
                    known = dict(names, seed=seed)
                    common = dict(application=app_name, case=case["name"], row=row["name"], seed=seed)
                    job = None
                    if "job" in row:
                        changes = (app.get("set"), case.get("set"), row.get("set"), short.get("set"), {"seed": seed})
                        job = job_of(root, row["job"], changes, known)
                        out.append(dict(common, side="service", file=row["job"], job=job))
                    if "peer" in row:
                        parts = [app.get("peer", ""), row["peer"], case.get("peer", ""), short.get("peer", ""), "--seed {seed}"]
                        out.append(dict(common, side="peer", command=shlex.split(fill(" ".join(parts), known, job))))
    return out


def digest(run):
    """Of what is run: a changed job or command is another result."""
    text = json.dumps(run.get("job") or run["command"], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
