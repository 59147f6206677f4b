# shellcheck shell=bash
# The Procfile's processes and the simulator: started, watched, and gone at the end. Needs
# say.sh. Source this file.
#
# Everything is started with DEMO_RUN=[checkout] in its environment, which children inherit.
# So each can be found again whoever its parent is by now: behind a Procfile runner, or after a
# demo that was killed.

STARTED_PIDS=""
RUNNER_PID=""
SIMULATOR_PID=""
FOLLOWER_PID=""

# Whether process $1 runs, rather than being dead and waiting to be collected.
lives() {
    local line state
    if [ -d /proc/self ]; then
        # "123 (name, perhaps with blanks) S 1 …"
        IFS= read -r line 2>/dev/null <"/proc/$1/stat" || return 1
        state=${line##*) }
    else
        state=$(ps -o stat= -p "$1" 2>/dev/null)
    fi
    case $state in '' | Z* | X*) return 1 ;; esac
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
        ps axEww -o pid=,command= | awk -v marker="$marker" 'index($0, marker) { print $1 }'
    fi
    return 0
}

# Starts a command in a process group of its own, so that the terminal's Ctrl-C reaches this
# script alone and things end in order. Sets LAST_PID.
start() {
    set -m
    DEMO_RUN="[$(pwd -P)]" "$@" </dev/null &
    LAST_PID=$!
    set +m
    STARTED_PIDS="$STARTED_PIDS $LAST_PID"
}

# The same with its output in .local/log/$1.log.
start_logged() {
    local name=$1
    shift
    start "$@" >".local/log/$name.log" 2>&1
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

# Ours that live, each once; without those named in $*.
living() {
    local pid seen=" $* "
    for pid in $STARTED_PIDS $(our_pids); do
        case $seen in *" $pid "*) continue ;; esac
        seen="$seen$pid "
        if lives "$pid"; then echo "$pid"; fi
    done
}

# Tells processes $* to end, and waits until they have or second $1 of this shell has come.
end_all() {
    local deadline=$1 pid left=yes
    shift
    for pid in "$@"; do kill -TERM "$pid" 2>/dev/null || continue; done
    while [ -n "$left" ] && [ "$SECONDS" -lt "$deadline" ]; do
        left=""
        for pid in "$@"; do
            if lives "$pid"; then left=yes; fi
        done
        if [ -n "$left" ]; then sleep 0.1; fi
    done
}

# Ends everything: politely first (the processes finish what they have in hand within 30 s), then
# by force. Clients go before servers: the follower first, the simulator last. A runner ends its
# own children.
stop_processes() {
    local deadline=$((SECONDS + 40)) pid
    if [ -n "$FOLLOWER_PID" ]; then end_all "$deadline" "$FOLLOWER_PID"; fi
    if [ -n "$RUNNER_PID" ]; then end_all "$deadline" "$RUNNER_PID"; fi
    # shellcheck disable=SC2046 # one word per process
    end_all "$deadline" $(living "$SIMULATOR_PID")
    # shellcheck disable=SC2046
    end_all "$deadline" $(living)
    for pid in $(living); do
        warn "process $pid did not end in time; ending it by force"
        kill -KILL "$pid" 2>/dev/null || continue
    done
    STARTED_PIDS=""
    RUNNER_PID=""
}
