# shellcheck shell=bash
# A Docker engine for a script: the running one, or one that the script starts and removes. Needs
# say.sh, run.sh and postgres-install.sh (as_root, apt_install). Source this file, then:
#   docker_open FOLDER   finds or starts an engine, with its files in FOLDER; sets DOCKER and COMPOSE
#   docker_close         stops the engine that docker_open started, and removes its files
# An engine of its own has its own images, so nothing of it is left on the computer.

DOCKER=()
COMPOSE=()
DOCKER_ENGINE_PID=""
DOCKER_ENGINE_FOLDER=""

# Prints a client that has BuildKit: with the plugin buildx, or one in which it is built in.
docker_client() {
    local client major
    for client in docker /usr/bin/docker; do
        command -v "$client" >/dev/null 2>&1 || continue
        major=$("$client" --version 2>/dev/null | sed -n 's/^Docker version \([0-9]*\).*/\1/p')
        if "$client" buildx version >/dev/null 2>&1 || [ "${major:-99}" -lt 23 ]; then
            command -v "$client"
            return 0
        fi
    done
    return 1
}

# Installs packages of Debian where the system is one; `docker_open` starts the engine itself.
docker_install() {
    command -v apt-get >/dev/null 2>&1 || die "$2 is missing; install it"
    say "Installing $1 from the system's packages"
    apt_update
    # shellcheck disable=SC2086 # several packages
    as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $1 >&2 ||
        die "apt-get could not install $1"
}

# Starts an engine with a socket, images and containers of its own below folder $1.
docker_start_engine() {
    local deadline=$((SECONDS + 60))
    [ "$(id -u)" -eq 0 ] || die "no Docker engine answers; start one, or run this script as root, which then starts one"
    command -v dockerd >/dev/null 2>&1 || docker_install "docker.io iptables" "a Docker engine"
    DOCKER_ENGINE_FOLDER=$1
    mkdir -p "$1"
    iptables-save >"$1/iptables" 2>/dev/null || : >"$1/iptables"
    cat /proc/sys/net/ipv4/ip_forward >"$1/ip_forward"
    DOCKER_HOST=unix://$1/docker.sock
    export DOCKER_HOST
    dockerd --host "$DOCKER_HOST" --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/dockerd.pid" \
        --group root --log-level warn >"$1/dockerd.log" 2>&1 </dev/null &
    DOCKER_ENGINE_PID=$!
    until docker_answers; do
        if ! kill -0 "$DOCKER_ENGINE_PID" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
            tail -n 5 "$1/dockerd.log" >&2
            die "the Docker engine did not start"
        fi
        sleep 0.2
    done
}

docker_answers() { "${DOCKER[0]:-docker}" version --format '{{.Server.Version}}' >/dev/null 2>&1; }

docker_open() {
    docker_client >/dev/null || docker_install docker.io "a Docker client with BuildKit (the plugin buildx)"
    DOCKER=("$(docker_client)") || die "no Docker client has BuildKit; install the plugin buildx"
    export DOCKER_BUILDKIT=1 BUILDKIT_PROGRESS=plain
    docker_answers || docker_start_engine "$1"
    if "${DOCKER[@]}" compose version >/dev/null 2>&1; then
        COMPOSE=("${DOCKER[@]}" compose)
    else
        command -v docker-compose >/dev/null 2>&1 || docker_install docker-compose "Docker Compose"
        COMPOSE=(docker-compose)
    fi
    say "Docker engine $("${DOCKER[@]}" version --format '{{.Server.Version}}')$(
        if [ -n "$DOCKER_ENGINE_PID" ]; then echo ', started for this run'; fi
    ), client $("${DOCKER[@]}" version --format '{{.Client.Version}}'), compose $("${COMPOSE[@]}" version --short)"
}

docker_close() {
    local deadline=$((SECONDS + 60))
    [ -n "$DOCKER_ENGINE_PID" ] || return 0
    kill -TERM "$DOCKER_ENGINE_PID" 2>/dev/null
    while kill -0 "$DOCKER_ENGINE_PID" 2>/dev/null && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.2; done
    kill -KILL "$DOCKER_ENGINE_PID" 2>/dev/null
    wait "$DOCKER_ENGINE_PID" 2>/dev/null
    DOCKER_ENGINE_PID=""
    # The engine leaves its bridge, its firewall rules and the forwarding of packets behind.
    cat "$DOCKER_ENGINE_FOLDER/ip_forward" >/proc/sys/net/ipv4/ip_forward 2>/dev/null
    ip link delete docker0 2>/dev/null
    docker_restore_firewall "$DOCKER_ENGINE_FOLDER/iptables"
    grep " $DOCKER_ENGINE_FOLDER/" /proc/mounts | cut -d' ' -f2 | sort -r | xargs -r umount 2>/dev/null
    rm -rf "$DOCKER_ENGINE_FOLDER"
}

# Puts the rules back that file $1 has; a table that it lacks was empty.
docker_restore_firewall() {
    {
        grep -q '^\*filter' "$1" || printf '*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n'
        grep -q '^\*nat' "$1" ||
            printf '*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\nCOMMIT\n'
        cat "$1"
    } | iptables-restore 2>/dev/null || warn "the firewall rules of the Docker engine could not be removed"
}
