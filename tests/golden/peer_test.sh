#!/usr/bin/env bash
# Debian's own interpreter; what we compare with comes from the pinned wheels.
exec /usr/bin/python3 "$@"
