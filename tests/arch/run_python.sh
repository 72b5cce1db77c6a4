#!/usr/bin/env bash
# Runs a Python script of the tests with Debian's own interpreter.
exec /usr/bin/python3 "$@"
