#!/usr/bin/env bash
# Resolves every requirements file together, so that all services share one set of versions, then cuts each
# service's own file out of that set. Written files carry hashes and no addresses.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-.venv/bin/uv}
projects=(services/*/pyproject.toml frontend/pyproject.toml cli/pyproject.toml libs/*/pyproject.toml)
own=()
for name in contracts kit client; do own+=(--no-emit-package "cadre-$name"); done
compile() { # compile OUTPUT [INPUT...]
    local output=$1; shift
    "$uv" pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
        --overrides requirements/overrides.txt "${own[@]}" "$@" -o "requirements/$output.txt" > /dev/null
}
[ "${1:-}" = "--upgrade" ] && rm -f requirements/*.txt.new requirements/dev.txt
compile bootstrap requirements/bootstrap.in
compile dev "${projects[@]}" requirements/{mlflow,dev,bootstrap}.in
compile local -c requirements/dev.txt "${projects[@]}" requirements/{mlflow,bootstrap}.in
for project in services/*/pyproject.toml frontend/pyproject.toml cli/pyproject.toml; do
    name=$(basename "$(dirname "$project")")
    compile "$name" -c requirements/dev.txt "$project"
done
compile mlflow -c requirements/dev.txt requirements/mlflow.in
