"""Writes schema1.sql: a store as coordinators of schema 1 left it, for the test that later ones read it.

  make_schema1.py COORDINATOR EVOGRAD schema1.sql     (programs of a version whose kSchemaVersion is 1)

A real coordinator takes two jobs and is killed; what its store holds is written as text. Two rows of steps and one
checkpoint's, which would need a worker, are added.
"""

import pathlib
import sqlite3
import subprocess
import sys
import tempfile

JOB = "problem: {toy1d: {x_at_optimum: true}}\nsteps: 20\nmax_workers: 1\n"


def main():
    coordinator, evograd, out = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder) / "data"
        job = pathlib.Path(folder) / "job.yaml"
        job.write_text(JOB)
        process = subprocess.Popen(
            [coordinator, f"--data_dir={data}", "--listen=127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
        address = process.stdout.readline().split("listening on ")[1].split(",")[0]
        for name in ("waiting", "cancelled"):
            subprocess.run([evograd, "submit", job, "--name", name, "--coordinator", address], check=True)
        subprocess.run([evograd, "cancel", "cancelled", "--coordinator", address], check=True)
        process.kill()
        process.wait()
        store = sqlite3.connect(data / "store.sqlite")
        assert store.execute("PRAGMA user_version").fetchone() == (1,)
        store.execute("INSERT INTO steps VALUES (1, 0, 100), (1, 1, 101)")
        # Field 2, the step, is 5.
        store.execute("INSERT INTO checkpoints VALUES (1, 5, x'1005')")
        lines = list(store.iterdump())
    pathlib.Path(out).write_text(
        "-- Written by make_schema1.py.\n" + "\n".join(lines) +
        "\nPRAGMA application_id = 0x45766F47;\nPRAGMA user_version = 1;\n")


if __name__ == "__main__":
    main()
