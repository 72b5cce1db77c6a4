"""docs/results.md from raw results."""

import collections
import math

from interval import mean_and_interval, shown

SIDES = {"service": "", "peer": " (PyTorch peer)"}


def latest(results, runs):
    """The newest result of each run of the plan: {(application, case, row, side): {seed: result}}."""
    wanted = {(run["application"], run["case"], run["row"], run["side"], run["seed"]): run["digest"] for run in runs}
    out = collections.defaultdict(dict)
    for result in results:
        key = tuple(result[name] for name in ("application", "case", "row", "side", "seed"))
        if wanted.get(key) == result["digest"]:
            out[key[:4]][result["seed"]] = result
    return out


def values(found, metric):
    """{seed: the metric's value}, where it is a number: NaN, or not reported, is left out."""
    name = metric["name"]
    of = lambda result: result[name] if name == "seconds_per_step" else result["metrics"].get(name)
    all_values = {seed: of(result) for seed, result in sorted(found.items())}
    return {seed: v for seed, v in all_values.items() if v is not None and math.isfinite(v)}


def table(app_name, app, case, found):
    metrics = app["metrics"] + [dict(name="seconds_per_step", title="a step", kind="seconds")]
    peers = any(key[0] == app_name and key[1] == case["name"] and key[3] == "peer" for key in found)
    head = ["", *[m["title"] for m in metrics], "seeds"]
    if peers:
        head += [m["title"] + SIDES["peer"] for m in metrics] + ["seeds"]
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join(["---"] * len(head)) + " |"]
    for row in app["rows"]:
        if row.get("cases") and case["name"] not in row["cases"]:
            continue
        cells = [row["name"]]
        for side in ["service", "peer"][:2 if peers else 1]:
            own = found.get((app_name, case["name"], row["name"], side), {})
            cells += [shown(values(own, m).values(), m["kind"]) for m in metrics]
            cells.append(str(len(own)))
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def findings(app_name, app, case, found):
    """What the first metric says, in figures, so that nothing is left to the eye: each row against the first one and the pairs
    that the manifest wants compared, on each side, and each row against its peer. Bold: the interval leaves 0 out."""
    metric, rows = app["metrics"][0], [row["name"] for row in app["rows"]]
    of = lambda row, side: values(found.get((app_name, case["name"], row, side), {}), metric)
    pairs = [(row, rows[0]) for row in rows[1:]] + [tuple(pair) for pair in app.get("compare", [])]
    compared = [[f"{a} − {b}"] + [difference(paired(of(a, side), of(b, side)), metric) for side in SIDES] for a, b in pairs]
    compared = [cells for cells in compared if set(cells[1:]) != {"–"}]
    unit = " in points" if metric["kind"] == "share" else ""
    lines = []
    if compared:
        lines += [f"| {metric['title']}{unit}, seed by seed | service | PyTorch peer |", "| --- | --- | --- |"]
        lines += ["| " + " | ".join(cells) + " |" for cells in compared]
    against = [(row, difference(unpaired(of(row, "service"), of(row, "peer")), metric)) for row in rows]
    against = [f"{row} {shown}" for row, shown in against if shown != "–"]
    if against:
        lines += ["", f"Service − peer{unit}: {', '.join(against)}."]
    return lines


def paired(a, b):
    """(mean, half of the 95 % interval) of the differences seed by seed: one seed means the same data, initial weights and
    batches in all rows of a side."""
    differences = [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]
    return mean_and_interval(differences) if len(differences) > 1 else None


def unpaired(a, b):
    """Of independent means: a little wider than Welch's interval."""
    if len(a) < 2 or len(b) < 2:
        return None
    (mean_a, half_a), (mean_b, half_b) = mean_and_interval(a.values()), mean_and_interval(b.values())
    return mean_a - mean_b, math.hypot(half_a, half_b)


def difference(found, metric):
    if found is None:
        return "–"
    mean, half = found
    scale, digits = (100, 1) if metric["kind"] == "share" else (1, 2)
    text = f"{scale * mean:+.{digits}f} ± {scale * half:.{digits}f}"
    return f"**{text}**" if abs(mean) > half else text


def render(manifest, results, runs):
    found = latest(results, runs)
    lines = [
        "# Results", "",
        "Written by `tools/results/make.sh` from `bench/results/`; the jobs are those of `examples/` with the changes that",
        "`tools/results/manifest.yaml` lists. Mean ± 95 % interval of the mean over the seeds (Student's t); figures are of the",
        "final parameters, never of the best epoch. The peer is `bench/reference/`: plain PyTorch, the same files, sizes and",
        "schedule, its own random numbers. Rows of one side are compared seed by seed (the same data, initial weights and",
        "batches), service and peer by their means; bold: the interval leaves 0 out. Seconds a step are what each run saw on",
        "a shared machine: trust ratios at most.", ""
    ]
    devices = sorted({result["device"] for result in results})
    dates = sorted(result["date"][:10] for result in results)
    if devices:
        span = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
        lines += [f"Machine: {'; '.join(devices)}. Run {span}.", ""]
    for app_name, app in manifest["applications"].items():
        lines += [f"## {app['title']}", ""]
        if app.get("about"):
            lines += [app["about"].strip(), ""]
        for case in app["cases"]:
            if case.get("title"):
                lines += [f"### {case['title']}", ""]
            if not any(key[:2] == (app_name, case["name"]) for key in found):
                lines += [f"Not run yet: `tools/results/make.sh --only {app_name}`.", ""]
                continue
            lines += table(app_name, app, case, found)
            said = findings(app_name, app, case, found)
            lines += ["", *said] if said else []
            lines.append("")
        notes = [f"- {row['name']}: {row['note']}" for row in app["rows"] if row.get("note")]
        notes += [f"- {note}" for note in app.get("notes", [])]
        lines += [*notes, ""] if notes else []
    return "\n".join(lines).rstrip() + "\n"
