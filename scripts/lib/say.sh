# shellcheck shell=bash
# Messages to the person who runs a script. Source this file.

# Prints progress, on stderr, so that stdout has only the script's output.
say() { printf '\033[2m==>\033[0m %s\n' "$*" >&2; }

# Prints a note; the script continues.
warn() { printf 'note: %s\n' "$*" >&2; }

# Prints an error and ends the script with status 1.
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# No colour unless stderr is a terminal.
if [ ! -t 2 ]; then
    say() { printf '==> %s\n' "$*" >&2; }
fi
