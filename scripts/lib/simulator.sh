# shellcheck shell=bash
# Servers that a script starts, and the settings that the simulator supplies. Needs say.sh. Source
# this file.

# Waits until $1, a URL, responds; ends the script after 30 s, or when process $2, if given, ends.
wait_for_url() {
    local url=$1 pid=${2:-} deadline=$((SECONDS + 30))
    until curl -fsS -o /dev/null "$url" 2>/dev/null; do
        if [ -n "$pid" ] && ! kill -0 "$pid" 2>/dev/null; then die "the server of $url has ended"; fi
        [ "$SECONDS" -lt "$deadline" ] || die "$url does not respond"
        sleep 0.1
    done
}

# Exports the POBLYSH_ variables among the lines of stdin.
export_settings() {
    local line
    while IFS= read -r line; do
        case $line in POBLYSH_*=*) export "${line?}" ;; esac
    done
}
