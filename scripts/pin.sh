#!/bin/sh
# Pins requirements/*.in with hashes. This machine's own pip configuration stays out of it, so that the files hold no
# address and no version that only this machine knows.
set -eu
cd "$(dirname "$0")/.."
for name in $(env | sed -n 's/^\(PIP_[A-Z_]*\)=.*/\1/p'); do
    case $name in PIP_CERT | PIP_DEFAULT_TIMEOUT) ;; *) unset "$name" ;; esac
done
export PIP_CONFIG_FILE=/dev/null CUSTOM_COMPILE_COMMAND="make requirements"
for set in base agent dev; do
    .venv/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
        --no-emit-index-url --no-emit-find-links --no-emit-trusted-host "$@" \
        --output-file "requirements/$set.txt" "requirements/$set.in"
done
