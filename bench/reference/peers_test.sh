#!/usr/bin/env bash
# Debian's own interpreter; PyTorch and the others come from the pinned wheels.
exec /usr/bin/python3 "$@"
