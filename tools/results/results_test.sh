#!/usr/bin/env bash
# Debian's own interpreter; YAML comes from the pinned packages.
exec /usr/bin/python3 "$@"
