#!/usr/bin/env bash
# Debian's own interpreter; PyTorch comes from the pinned wheels.
exec /usr/bin/python3 "$@"
