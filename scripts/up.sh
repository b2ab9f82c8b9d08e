#!/bin/sh
# `make up`: has what is needed on this machine and in .venv, then becomes the program that stays in the foreground.
set -eu
cd "$(dirname "$0")/.."
scripts/install.sh
scripts/setup.sh
exec .venv/bin/python -m scripts.up "$@"
