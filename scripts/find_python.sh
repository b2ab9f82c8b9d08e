#!/bin/sh
# Prints the first Python that can carry us: 3.11 or newer, with venv and pip's seed. Ends with 1 if there is none.
for name in python3 python3.13 python3.12 python3.11 /usr/bin/python3; do
    path=$(command -v "$name") || continue
    "$path" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$path" && exit 0
done
exit 1
