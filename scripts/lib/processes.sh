# shellcheck shell=bash
# Starts, supervises and stops the Procfile's processes and the simulator. Needs say.sh. Source this
# file.
#
# Each process has DEMO_RUN=[checkout] in its environment, which children inherit. This identifies
# it under any parent: behind a Procfile runner, or after a demo that was killed.

STARTED_PIDS=""
RUNNER_PID=""
SIMULATOR_PID=""
FEED_READER_PID=""

# Whether process $1 runs and is not a zombie.
is_running() {
    local stat state
    if [ -d /proc/self ]; then
        # "123 (name, perhaps with blanks) S 1 …"
        IFS= read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
        state=${stat##*) }
    else
        state=$(ps -o stat= -p "$1" 2>/dev/null)
    fi
    case $state in '' | Z* | X*) return 1 ;; esac
}

# Prints the command line of process $1.
command_of() {
    if [ -d /proc/self ]; then
        tr '\0' ' ' <"/proc/$1/cmdline"
    else
        ps -o command= -p "$1"
    fi 2>/dev/null
}

# Prints the ids of all running processes that a demo of this checkout started.
demo_pids() {
    local marker
    marker="DEMO_RUN=[$(pwd -P)]"
    if [ -d /proc/self ]; then
        grep -lsF "$marker" /proc/[0-9]*/environ | sed 's|/proc/\([0-9]*\)/.*|\1|'
    else
        ps axEww -o pid=,command= | awk -v marker="$marker" 'index($0, marker) { print $1 }'
    fi
    return 0
}

# Starts a command in a new process group, so that the terminal's Ctrl-C reaches only this
# script, which stops the processes in order. Sets LAST_PID.
start() {
    set -m
    DEMO_RUN="[$(pwd -P)]" "$@" </dev/null &
    LAST_PID=$!
    set +m
    STARTED_PIDS="$STARTED_PIDS $LAST_PID"
}

# Starts a command with its output in .local/log/$1.log.
start_logged() {
    local name=$1
    shift
    start "$@" >".local/log/$name.log" 2>&1
}

# Prints the installed Procfile runner, or none.
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

# Runs the three processes of the Procfile. The settings are in the environment; environment files
# that a runner reads by default must not change them.
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

# Prints the ids of running processes of the demo, each once, except those in $*.
running_pids() {
    local pid seen=" $* "
    for pid in $STARTED_PIDS $(demo_pids); do
        case $seen in *" $pid "*) continue ;; esac
        seen="$seen$pid "
        if is_running "$pid"; then echo "$pid"; fi
    done
}

# Sends SIGTERM to processes $2…, and waits until they have ended or SECONDS reaches $1.
terminate() {
    local deadline=$1 pid left=yes
    shift
    for pid in "$@"; do kill -TERM "$pid" 2>/dev/null || continue; done
    while [ -n "$left" ] && [ "$SECONDS" -lt "$deadline" ]; do
        left=""
        for pid in "$@"; do
            if is_running "$pid"; then left=yes; fi
        done
        if [ -n "$left" ]; then sleep 0.1; fi
    done
}

# Stops all processes: with SIGTERM (they finish running work within 30 s), then with SIGKILL.
# Clients stop before servers: the feed reader first, the simulator last. A runner stops its
# children.
stop_processes() {
    local deadline=$((SECONDS + 40)) pid
    if [ -n "$FEED_READER_PID" ]; then terminate "$deadline" "$FEED_READER_PID"; fi
    if [ -n "$RUNNER_PID" ]; then terminate "$deadline" "$RUNNER_PID"; fi
    # shellcheck disable=SC2046 # one word per process
    terminate "$deadline" $(running_pids "$SIMULATOR_PID")
    # shellcheck disable=SC2046
    terminate "$deadline" $(running_pids)
    for pid in $(running_pids); do
        warn "process $pid did not end in time; killing it"
        kill -KILL "$pid" 2>/dev/null || continue
    done
    STARTED_PIDS=""
    RUNNER_PID=""
}
