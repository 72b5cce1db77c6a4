#!/usr/bin/env python3
"""Draws what hypergradient_quality printed: cosine against cost, one panel a file.

    PYTHONPATH=$(third_party/wheels/install.sh):$(third_party/wheels/install.sh third_party/peers/requirements.lock 1500) \\
        /usr/bin/python3 bench/plot_quality.py --out quality.png meta-weight-net.jsonl metaxl.jsonl
"""

import argparse
import itertools
import json
import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    read = {path: [json.loads(line) for line in path.read_text().splitlines()] for path in args.files}
    names = dict.fromkeys(row["name"] for rows in read.values() for row in rows if row["name"] != "vanilla")
    # An estimator looks the same in all panels.
    looks = dict(zip(names, zip(itertools.cycle("osDv^<>pPX*hd"), itertools.cycle(plt.cm.tab20.colors))))
    figure, panels = plt.subplots(1, len(args.files), figsize=(6 * len(args.files), 7), squeeze=False)
    for panel, (path, rows) in zip(panels[0], read.items()):
        for row in (row for row in rows if row["name"] in looks):
            marker, colour = looks[row["name"]]
            panel.errorbar(row["time_ratio"], row["cosine"], yerr=row["cosine_deviation"], fmt=marker, color=colour, capsize=3,
                           label=row["name"])
        panel.legend(fontsize=7, bbox_to_anchor=(0.5, -0.15), loc="upper center", ncol=3)
        panel.set(title=path.stem, xlabel="time of a step, plain steps", ylabel="cosine with exact second order", xscale="log")
        panel.set_xticks([2, 3, 5, 10, 20, 30], ["2", "3", "5", "10", "20", "30"])
        panel.set_xticks([], minor=True)
        panel.axhline(1, color="grey", linewidth=0.5)
    figure.tight_layout()
    figure.savefig(args.out, dpi=120)


main()
