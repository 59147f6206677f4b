# shellcheck shell=bash
# Long commands that end when this script receives a signal. Source this file.

# Sets the default traps: a signal ends the script, so that its EXIT trap runs.
end_on_signals() {
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

# Runs a command in a new process group and waits for it. A signal to this script ends the whole
# group immediately; without this, bash would handle it only after the command has ended.
run() {
    local child status=0
    set -m
    "$@" </dev/null &
    child=$!
    set +m
    # shellcheck disable=SC2064 # the number of this child, not of a later one
    trap "end_group $child; exit 130" INT
    # shellcheck disable=SC2064
    trap "end_group $child; exit 143" TERM HUP
    wait "$child" || status=$?
    end_on_signals
    return "$status"
}

# Ends process group $1 with SIGTERM, and after ten seconds with SIGKILL.
end_group() {
    local deadline=$((SECONDS + 10))
    if ! kill -TERM -- "-$1" 2>/dev/null; then return 0; fi
    while kill -0 -- "-$1" 2>/dev/null; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            kill -KILL -- "-$1" 2>/dev/null
            return 0
        fi
        sleep 0.1
    done
}
