# shellcheck shell=bash
# Words to the person who runs a script. Source this file.

# Progress, on stderr, so that stdout stays the script's own.
say() { printf '\033[2m==>\033[0m %s\n' "$*" >&2; }

# Something the person should know, though work goes on.
warn() { printf 'note: %s\n' "$*" >&2; }

# The end: why, and with which status.
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# A terminal gets colour, a log does not.
if [ ! -t 2 ]; then
    say() { printf '==> %s\n' "$*" >&2; }
fi
