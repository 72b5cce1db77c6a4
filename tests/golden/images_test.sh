#!/usr/bin/env bash
# Debian's own interpreter; PyTorch, torchvision and Pillow come from the pinned wheels.
exec /usr/bin/python3 "$@"
