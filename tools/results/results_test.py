"""Goal: results are run once, kept, and shown as what they are. Method: the real command on a manifest made here, with
programs made here in place of the service and the peer; the quantiles of Student's t against the integral of its
density."""

import json
import math
import os
import pathlib
import stat
import subprocess
import sys
import tempfile

HERE, (SITE, PEERS) = pathlib.Path(__file__).resolve().parent, sys.argv[1:3]
sys.path[:0] = [str(HERE), SITE, PEERS]

import interval
import manifest as plan
import render

SERVICE = """#!/bin/sh
echo run >> {log}
test -e {broken} && {{ echo "the coordinator is away" >&2; exit 5; }}
seed=$(sed -n 's/.*"seed": \\([0-9]*\\).*/\\1/p' "$2")
extra=$(grep -c '"learning_rate": 0.5' "$2")
echo "{{\\"state\\": \\"SUCCEEDED\\", \\"committedSteps\\": \\"7\\", \\"secondsPerStep\\": 0.25,"
echo " \\"lastEvaluation\\": {{\\"metrics\\": {{\\"accuracy\\": 0.$((7 + extra))$seed}}}}}}"
while [ $# -gt 0 ]; do [ "$1" = --out ] && mkdir -p "$2" && touch "$2/small-7.safetensors"; shift; done
exit 0
"""
PEER = """import sys, json
print("noise")
print(json.dumps(dict(metrics=dict(accuracy=0.9), seconds_per_step=1.5, steps=3)))
"""
MANIFEST = """
data:
  pictures: {default: FOLDER/pictures, environment: NOT_SET, recipe: "recipe {folder}"}
applications:
  small:
    title: A small thing
    needs: [pictures]
    seeds: [1, 2, 3]
    prepare: [{creates: "{work}/small-7.safetensors", job: FOLDER/job.yaml, set: {seed: 9}}]
    metrics: [{name: accuracy, title: accuracy, kind: share}]
    set: {data_dir: "{pictures}"}
    cases:
      - {name: one, title: The first case, set: {problem.size: 1}}
    rows:
      - {name: slow, job: FOLDER/job.yaml}
      - {name: fast, job: FOLDER/job.yaml, set: {learning_rate: 0.5}, peer: "FOLDER/peer.py {pictures} --rate {job:learning_rate}"}
"""


def check_quantiles():
    def density(t, n):
        log = math.lgamma((n + 1) / 2) - math.lgamma(n / 2) - 0.5 * math.log(n * math.pi)
        return math.exp(log - (n + 1) / 2 * math.log1p(t * t / n))

    for n, quantile in enumerate(interval.T95, 1):
        parts = 4000
        width = quantile / parts  # Simpson
        total = sum((1 if i in (0, parts) else 4 if i % 2 else 2) * density(i * width, n) for i in range(parts + 1))
        inside = 2 * total * width / 3
        assert abs(inside - 0.95) < 2e-4, (n, inside)
    mean, half = interval.mean_and_interval([0.8, 0.9, 0.7])
    assert abs(mean - 0.8) < 1e-12 and abs(half - 4.303 * 0.1 / math.sqrt(3)) < 1e-12
    assert interval.mean_and_interval([2.0]) == (2.0, None)
    assert interval.shown([0.8, 0.9, 0.7], "share") == "80.0 ± 24.8 %" and interval.shown([], "share") == "–"


def check_manifest(folder):
    job = {"a": {"b": 1, "c": 2}}
    assert plan.override(job, {"a.b": 5, "x.y": 1, "a.c": None}) == {"a": {"b": 5}, "x": {"y": 1}} and job["a"]["b"] == 1
    for text, wrong in ((MANIFEST.replace("rows:", "rovs:"), "unknown key rovs"), (MANIFEST.replace("name: fast", "name: slow"), "same name"),
                        (MANIFEST.replace("needs: [pictures]", "needs: [films]"), "films"),
                        (MANIFEST.replace("seeds:", "compare: [[slow, quick]]\n    seeds:"), "two rows' names")):
        (folder / "wrong.yaml").write_text(text)
        try:
            plan.read(folder / "wrong.yaml")
        except plan.ManifestError as e:
            assert wrong in str(e), e
        else:
            raise AssertionError(f"{wrong}: not noticed")
    for text, wrong in (("{job:a.z}", "no z"), ("{sea}", "stands for nothing")):
        try:
            plan.fill(text, {"seed": 1}, job)
        except plan.ManifestError as e:
            assert wrong in str(e), e
        else:
            raise AssertionError(f"{wrong}: not noticed")
    assert plan.fill(["{job:a.b} {seed}"], {"seed": 4}, {"a": {"b": [1, 2]}}) == ["1 2 4"]
    # The real one: every job that it names is there.
    root = HERE.parents[1]
    manifest = plan.read(HERE / "manifest.yaml")
    names = {name: "x" for name in [*manifest["data"], "work"]}
    assert len(plan.runs(root, manifest, names)) > len(plan.runs(root, manifest, names, quick=True)) > 0
    for app in manifest["applications"].values():
        for step in app.get("prepare", []):
            assert plan.job_of(root, step["job"], [step.get("set")], names)["problem"] and plan.fill(step["creates"], names)


def check_verdicts():
    rows = [dict(name="base"), dict(name="other")]
    app = dict(metrics=[dict(name="m", title="m", kind="share")], rows=rows)

    def said(base, other):
        found = {("app", "all", name, "service"): {i: dict(metrics=dict(m=v)) for i, v in enumerate(values)}
                 for name, values in (("base", base), ("other", other))}
        return render.findings("app", app, dict(name="all"), found)[2]

    assert said([0.5, 0.51, 0.49], [0.7, 0.72, 0.68]).endswith("| **+20.0 ± 2.5** | – |")
    assert said([0.7, 0.71, 0.69], [0.5, 0.51, 0.49]).endswith("| **-20.0 ± 0.0** | – |")
    assert said([0.5, 0.6, 0.4], [0.55, 0.58, 0.46]).endswith("| +3.0 ± 10.8 | – |")
    app["compare"] = [["base", "other"]]
    found = {("app", "all", name, side): {i: dict(metrics=dict(m=value + i / 100)) for i in range(3)}
             for name, side, value in (("base", "service", 0.5), ("other", "service", 0.7), ("other", "peer", 0.7))}
    lines = render.findings("app", app, dict(name="all"), found)
    assert lines[2:] == [
        "| other − base | **+20.0 ± 0.0** | – |", "| base − other | **-20.0 ± 0.0** | – |", "",
        "Service − peer in points: other +0.0 ± 3.5."
    ], lines
    assert render.findings("app", app, dict(name="all"), {}) == []


def main():
    check_quantiles()
    check_verdicts()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        check_manifest(folder)
        log, broken, out = folder / "log", folder / "broken", folder / "results.md"
        program = folder / "service.sh"
        program.write_text(SERVICE.format(log=log, broken=broken))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        (folder / "peer.py").write_text(PEER)
        (folder / "job.yaml").write_text("name: small\nlearning_rate: 0.1\n")
        manifest = folder / "manifest.yaml"
        manifest.write_text(MANIFEST.replace("FOLDER", name))

        def make(*arguments):
            command = [sys.executable, str(HERE / "make.py"), "--manifest", str(manifest), "--results", str(folder / "raw"), "--out",
                       str(out), "--program", str(program), *arguments]
            done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": f"{SITE}:{PEERS}"})
            return done.returncode, done.stdout + done.stderr

        ran = lambda: len(log.read_text().split()) if log.exists() else 0
        code, said = make()
        assert code == 1 and "recipe" in said and str(folder / "pictures") in said, said
        (folder / "pictures").mkdir()
        broken.touch()
        code, said = make("--sides", "service")
        assert code == 1 and "the coordinator is away" in said and "6 failed" in said, said
        assert not list((folder / "raw").glob("*.jsonl"))
        broken.unlink()
        assert make("--rows", "slow", "--seeds", "1")[0] == 0 and ran() == 8
        code, said = make()  # seed 1 of `slow` is there already
        assert code == 0 and ran() == 13 and "8 new results" in said, said
        assert make()[0] == 0 and ran() == 13
        text = out.read_text()
        # 0.71, 0.72, 0.73 and 0.81, 0.82, 0.83: standard deviation 0.01, t of 2 degrees of freedom 4.303.
        assert "72.0 ± 2.5 %" in text and "82.0 ± 2.5 %" in text and "90.0 ± 0.0 %" in text, text
        assert "fast − slow | **+10.0 ± 0.0** | – |" in text and "The first case" in text, text
        raw = [json.loads(line) for line in (folder / "raw/small.jsonl").read_text().splitlines()]
        assert len(raw) == 9 and all(line["device"] and line["date"] and line["digest"] for line in raw)
        assert any(line.get("command", "").endswith("/peer.py {pictures} --rate 0.5 --seed 2") for line in raw)
        assert any(line.get("job", {}).get("data_dir") == "{pictures}" for line in raw)
        # A changed job is run again, and its old result is in no table.
        manifest.write_text(manifest.read_text().replace("{learning_rate: 0.5}", "{learning_rate: 0.25}"))
        assert make("--sides", "service")[0] == 0 and ran() == 16
        assert "82.0" not in out.read_text()
        # Elsewhere it is the same run.
        (folder / "elsewhere").mkdir()
        assert make("--data", f"pictures={folder / 'elsewhere'}", "--sides", "service")[0] == 0 and ran() == 16
        (folder / "raw/small.jsonl").open("a").write('{"application"')
        code, said = make()
        assert code == 1 and "small.jsonl:13" in said, said
    print("results: all held")


main()
