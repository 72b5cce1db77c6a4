#!/usr/bin/env bash
# Debian's own interpreter; Pillow comes from the pinned packages.
exec /usr/bin/python3 "$@"
