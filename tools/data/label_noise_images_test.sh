#!/usr/bin/env bash
# Debian's own interpreter; numpy comes from the pinned packages.
exec /usr/bin/python3 "$@"
