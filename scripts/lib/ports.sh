# shellcheck shell=bash
# TCP ports on the loopback interface. Source this file.

# Whether a program listens on port $1. Bash opens the socket, because nc and lsof may be missing.
port_is_busy() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# The first free port at or above $1.
free_port() {
    local port=$1
    while port_is_busy "$port"; do
        port=$((port + 1))
        if [ "$port" -gt 65535 ]; then
            echo "no free port above $1" >&2
            return 1
        fi
    done
    echo "$port"
}
