#!/bin/sh
# Take secrets from the files that NAME_FILE variables name, then become the command.
set -eu
for name in PREFECT_API_AUTH_STRING PREFECT_SERVER_API_AUTH_STRING PREFECT_SERVER_DATABASE_PASSWORD; do
    eval "file=\${${name}_FILE:-}"
    [ -n "$file" ] || continue
    if [ ! -s "$file" ]; then
        echo "$file: no secret in it; the top of compose.yaml says how to make one" >&2
        exit 2
    fi
    export "$name=$(cat "$file")"
    unset "${name}_FILE"
done
exec "$@"
