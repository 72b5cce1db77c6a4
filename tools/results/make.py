#!/usr/bin/env python3
"""Runs what manifest.yaml lists and writes docs/results.md.

Each result is one line of JSON under bench/results/ as soon as it is there, so that an interrupted run goes on where it
was; a run whose job or command has changed since is run again. A run that fails is told and tried again next time.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile

import manifest as plan
from render import render

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "bazel-bin/client/cli/evograd"


class RunError(Exception):
    pass


def device():
    name, flags = platform.processor() or platform.machine(), []
    for line in open("/proc/cpuinfo", encoding="utf8"):
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
        if line.startswith("flags"):
            flags = line.split()
            break
    # What the digests of results depend on.
    isa = next((isa for flag, isa in (("avx512bw", "AVX-512"), ("avx2", "AVX2")) if flag in flags), "SSE4.1")
    return f"{name}, {os.cpu_count()} cores, {isa}"


def revision():
    try:
        done = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True)
    except OSError:  # no git here
        return "unknown"
    return done.stdout.strip() or "unknown"


def execute(command, timeout):
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise RunError(f"not finished after {timeout} s") from None
    except OSError as e:
        raise RunError(f"{command[0]}: {e.strerror}") from None
    if done.returncode != 0:
        raise RunError(f"exit code {done.returncode}: {(done.stderr.strip() or done.stdout.strip())[-600:]}")
    return done.stdout


def run_program(job, args, *flags):
    """The job as the service ended it; RunError where it did not succeed."""
    with tempfile.TemporaryDirectory() as folder:
        # JSON is YAML; the file's name is the job's.
        path = pathlib.Path(folder) / f"{job.get('name', 'job')}.yaml"
        path.write_text(json.dumps(job, indent=1))
        command = [str(args.program), "run", str(path), "-o", "json", "--workers", str(args.workers), *flags]
        ended = json.loads(execute(command, args.timeout))
    if ended.get("state") != "SUCCEEDED":
        raise RunError(f"the job is {ended.get('state')}: {ended.get('error', {}).get('message') or ended.get('reason')}")
    return ended


def run_job(run, args):
    job = run_program(run["job"], args)
    evaluation = job.get("lastEvaluation", {})
    return dict(metrics=evaluation.get("metrics", {}), warnings=evaluation.get("warnings", []),
                seconds_per_step=job.get("secondsPerStep", 0), steps=int(job.get("committedSteps", 0)),
                workers=args.workers, parameters_sha256=job.get("parametersSha256", ""), job=run["kept"], file=run["file"])


def run_peer(run, args):
    output = execute([sys.executable, *run["command"]], args.timeout)
    result = json.loads(output.strip().split("\n")[-1])
    return dict(metrics=result["metrics"], seconds_per_step=result["seconds_per_step"], steps=result["steps"],
                command=" ".join(run["kept"]), torch=result.get("torch", ""))


def results_file(args, run):
    return args.results / f"{run['application']}.jsonl"


def read_results(folder):
    out = []
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf8").splitlines(), 1):
            try:
                out.append(json.loads(line))
            except json.JSONDecodeError as e:
                raise RunError(f"{path}:{number}: {e.msg}; a line that was cut off can be deleted") from None
    return out


def key_of(run):
    return tuple(run[name] for name in ("application", "case", "row", "seed", "side", "digest"))


def title_of(run):
    return f"{run['application']}, {run['case']}, {run['row']}, seed {run['seed']}, {run['side']}"


def prepare(app_name, app, args, names):
    """Runs the jobs whose checkpoints the application's jobs begin from, where they are not there yet."""
    for step in app.get("prepare", []):
        made = pathlib.Path(plan.fill(step["creates"], names))
        if made.exists():
            continue
        print(f"{app_name}: making {made}", file=sys.stderr, flush=True)
        run_program(plan.job_of(ROOT, step["job"], [step.get("set")], names), args, "--out", str(made.parent))
        if not made.exists():
            raise RunError(f"{app_name}: {step['job']} did not make {made}")


def check_data(manifest, applications, names):
    for app_name in applications:
        for folder in manifest["applications"][app_name].get("needs", []):
            if os.path.isdir(names[folder]):
                continue
            data = manifest["data"][folder]
            how = plan.fill(data["recipe"], dict(names, folder=names[folder])) if data.get("recipe") else "see docs/problems.md"
            raise RunError(f"{app_name}: {names[folder]} is not there; make it with `{how}`, or name another folder with "
                           f"--data {folder}=FOLDER or {data.get('environment')}")


def needs_program(manifest, run):
    return run["side"] == "service" or "prepare" in manifest["applications"][run["application"]]


def run_all(manifest, todo, args, names):
    failed = []
    prepared = set()
    for number, run in enumerate(todo, 1):
        print(f"[{number}/{len(todo)}] {title_of(run)}", file=sys.stderr, flush=True)
        try:
            if run["application"] not in prepared:
                prepare(run["application"], manifest["applications"][run["application"]], args, names)
                prepared.add(run["application"])
            outcome = run_job(run, args) if run["side"] == "service" else run_peer(run, args)
        except (RunError, json.JSONDecodeError, KeyError) as e:
            print(f"  failed: {e}", file=sys.stderr)
            failed.append(title_of(run))
            continue
        line = {name: run[name] for name in ("application", "case", "row", "seed", "side", "digest")}
        line.update(outcome, date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
                    device=args.device, revision=args.revision)
        with open(results_file(args, run), "a", encoding="utf8") as f:
            f.write(json.dumps(line) + "\n")
            f.flush()
            os.fsync(f.fileno())
    return failed


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=pathlib.Path, default=ROOT / "tools/results/manifest.yaml")
    parser.add_argument("--results", type=pathlib.Path, default=ROOT / "bench/results")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs/results.md")
    parser.add_argument("--program", type=pathlib.Path, default=PROGRAM)
    parser.add_argument("--only", nargs="+", metavar="APPLICATION")
    parser.add_argument("--rows", nargs="+", metavar="ROW")
    parser.add_argument("--cases", nargs="+", metavar="CASE")
    parser.add_argument("--sides", nargs="+", choices=["service", "peer"], default=["service", "peer"])
    parser.add_argument("--seeds", nargs="+", type=int, help="instead of the manifest's")
    parser.add_argument("--quick", action="store_true",
                        help="one seed and few steps of everything, into bench/results/quick, which is in no table: shows "
                        "that all can run")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--timeout", type=int, default=None, metavar="SECONDS", help="of one run")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--list", action="store_true", help="shows what would be run")
    parser.add_argument("--render-only", action="store_true")
    args = parser.parse_args()
    args.device, args.revision = device(), revision()
    if args.quick:
        args.results, args.out = args.results / "quick", args.results / "quick" / "results.md"
    return args


def main():
    args = parse()
    try:
        manifest = plan.read(args.manifest)
        unknown = set(args.only or []) - set(manifest["applications"])
        if unknown:
            raise RunError(f"--only {sorted(unknown)[0]}: the manifest has {', '.join(manifest['applications'])}")
        names = plan.folders(manifest, dict(item.split("=", 1) for item in args.data))
        names["work"] = str(args.results.resolve() / "work")
        everything = plan.runs(ROOT, manifest, names, args.seeds, args.quick)
        tables = plan.runs(ROOT, manifest, names, None, args.quick)
        tables += [run for run in everything if key_of(run) not in {key_of(other) for other in tables}]
        args.results.mkdir(parents=True, exist_ok=True)
        done = {key_of(result) for result in read_results(args.results)}
        todo = [
            run for run in everything
            if key_of(run) not in done and run["side"] in args.sides and (not args.only or run["application"] in args.only) and
            (not args.rows or run["row"] in args.rows) and (not args.cases or run["case"] in args.cases)
        ]
        failed = []
        if args.list:
            print("\n".join(title_of(run) for run in todo))
            return 0
        if not args.render_only:
            check_data(manifest, sorted({run["application"] for run in todo}), names)
            if any(needs_program(manifest, run) for run in todo) and not args.program.exists():
                raise RunError(f"{args.program} is not there; build it with "
                               "`./bazelw build //client/cli:evograd //server:coordinator //worker:worker`")
            failed = run_all(manifest, todo, args, names)
        args.out.write_text(render(manifest, read_results(args.results), tables), encoding="utf8")
    except (plan.ManifestError, RunError, OSError) as e:
        sys.exit(f"results: {e}")
    print(f"{args.out}: {len(todo) - len(failed) if not args.render_only else 0} new results, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
