#!/bin/sh
echo "coverage reports are not made here" >&2
exit 1
