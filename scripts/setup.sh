#!/bin/sh
# Makes .venv with what requirements/*.txt pin. Does nothing when these files, and Python, are those it was made from.
set -eu
cd "$(dirname "$0")/.."
venv=${SAM_VENV:-.venv}

# A venv that works keeps its Python, whatever PATH says today.
python=$("$venv/bin/python" -c 'import sys; print(sys._base_executable)' 2>/dev/null) || python=$(scripts/find_python.sh)
stamp="$venv/.made-from"
made_from=$({ "$python" -V; cat requirements/base.txt requirements/agent.txt requirements/dev.txt scripts/setup.sh; pwd; } | sha256sum)
[ "$(cat "$stamp" 2>/dev/null)" = "$made_from" ] && exit 0

echo "setup: making $venv with $("$python" -V), from requirements/*.txt, by hash"
rm -f "$stamp"
[ -x "$venv/bin/python" ] && [ "$("$venv/bin/python" -V)" = "$("$python" -V)" ] || "$python" -m venv --clear "$venv"
# What runs is compiled now: a machine that sets PYTHONDONTWRITEBYTECODE would do it at every start of every process, two
# seconds each. What only checks and tests need is not: most of its modules are never imported.
install() { "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes "$@"; }
install -r requirements/base.txt -r requirements/agent.txt
install --no-compile -r requirements/dev.txt

# The checkout is importable from the venv, and the agent has its name on PATH there, without building a package.
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
pwd >"$site/sam.pth"
cat >"$venv/bin/sam-node-agent" <<LAUNCHER
#!$(pwd)/$venv/bin/python
import sys

from nodeagent.__main__ import main

sys.exit(main())
LAUNCHER
chmod 755 "$venv/bin/sam-node-agent"
printf '%s\n' "$made_from" >"$stamp"
