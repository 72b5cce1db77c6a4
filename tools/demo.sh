#!/usr/bin/env bash
# Learns a rotation from real pictures with two local workers, beside the same training without meta-learning.
exec client/cli/evograd run examples/rotation-baseline.yaml examples/rotation.yaml --workers 2 "$@"
