# shellcheck shell=bash
# The Procfile's processes and the simulator: started, watched, and gone at the end. Needs
# say.sh. Source this file.
#
# Everything is started with DEMO_RUN=[checkout] in its environment, which children inherit.
# So each can be found again whoever its parent is by now: behind a Procfile runner, or after a
# demo that was killed.

STARTED_PIDS=""
RUNNER_PID=""

# Whether process $1 runs. One that is dead and waits to be collected has no command line.
lives() {
    local first=""
    if [ -d /proc/self ]; then
        IFS= read -r -d '' first 2>/dev/null <"/proc/$1/cmdline"
        [ -n "$first" ]
    else
        case $(ps -o stat= -p "$1" 2>/dev/null) in '' | Z*) return 1 ;; esac
    fi
}

# Its command line.
command_of() {
    if [ -d /proc/self ]; then
        tr '\0' ' ' <"/proc/$1/cmdline"
    else
        ps -o command= -p "$1"
    fi 2>/dev/null
}

# Process ids of everything that a demo of this checkout started and that runs.
our_pids() {
    local marker
    marker="DEMO_RUN=[$(pwd -P)]"
    if [ -d /proc/self ]; then
        grep -lsF "$marker" /proc/[0-9]*/environ | sed 's|/proc/\([0-9]*\)/.*|\1|'
    else
        ps axEww -o pid=,command= | grep -F "$marker" | awk '{ print $1 }'
    fi
    return 0
}

# Starts a command with its output in .local/log/$1.log. Sets LAST_PID.
start_logged() {
    local name=$1
    shift
    DEMO_RUN="[$(pwd -P)]" "$@" >".local/log/$name.log" 2>&1 </dev/null &
    LAST_PID=$!
    STARTED_PIDS="$STARTED_PIDS $LAST_PID"
}

# The program that runs Procfiles here, if one is installed.
procfile_runner() {
    local runner
    for runner in ${POBLYSH_PROCFILE_RUNNER:-overmind foreman honcho none}; do
        case $runner in
            none) break ;;
            overmind) if command -v tmux >/dev/null 2>&1 && command -v overmind >/dev/null 2>&1; then break; fi ;;
            *) if command -v "$runner" >/dev/null 2>&1; then break; fi ;;
        esac
    done
    echo "$runner"
}

# Runs the three lines of the Procfile. The settings are in the environment: files that a
# runner would read by itself must not change them.
start_procfile() {
    local line name runner
    runner=$(procfile_runner)
    : >.local/run/empty.env
    case $runner in
        overmind)
            rm -f .local/run/overmind.sock
            start_logged processes env OVERMIND_SKIP_ENV=1 overmind start --procfile Procfile --no-port \
                --shutdown 35 --socket .local/run/overmind.sock
            ;;
        foreman)
            start_logged processes foreman start --procfile Procfile --root . --timeout 35 \
                --env .local/run/empty.env
            ;;
        honcho) start_logged processes honcho --env .local/run/empty.env --procfile Procfile start ;;
        *)
            while IFS= read -r line; do
                case $line in '' | '#'*) continue ;; esac
                name=${line%%:*}
                start_logged "$name" bash -c "exec ${line#*:}"
            done <Procfile
            ;;
    esac
    if [ "$runner" = none ]; then
        say "Started the Procfile's processes; they log to .local/log/"
    else
        RUNNER_PID=$LAST_PID
        say "Started the Procfile's processes with $runner; they log to .local/log/processes.log"
    fi
}

signal_ours() {
    local pid
    for pid in $STARTED_PIDS $(our_pids); do
        if lives "$pid"; then kill "-$1" "$pid" 2>/dev/null; fi
    done
    return 0
}

ours_live() {
    local pid
    for pid in $STARTED_PIDS $(our_pids); do
        if lives "$pid"; then return 0; fi
    done
    return 1
}

# Ends them all: politely first (they finish what they have in hand within 30 s), then by
# force. A runner ends its own children.
stop_processes() {
    local deadline=$((SECONDS + 40))
    if [ -n "$RUNNER_PID" ] && kill -0 "$RUNNER_PID" 2>/dev/null; then
        kill -TERM "$RUNNER_PID" 2>/dev/null
        while lives "$RUNNER_PID" && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.1; done
    fi
    signal_ours TERM
    while ours_live && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.1; done
    if ours_live; then
        warn "some processes did not end in time; ending them by force"
        signal_ours KILL
    fi
    STARTED_PIDS=""
    RUNNER_PID=""
}
