# shellcheck shell=bash
# A private PostgreSQL cluster, created, started and stopped by the scripts, never the system's. It
# listens on loopback only, requires a generated password, and runs as an unprivileged user if the
# script runs as root, because PostgreSQL refuses root.
#
# Needs say.sh, ports.sh, secrets.sh and postgres-install.sh. Source this file, then:
#   pg_open FOLDER durable|throwaway   starts the cluster in FOLDER, creates it if absent
#   pg_sql DATABASE                    runs SQL from stdin as the superuser
#   pg_url DATABASE [USER PASSWORD]    prints its URL, the superuser's by default
#   pg_close                           stops it; does nothing if it is stopped
# After pg_open, PG_HOME is the folder in use and PG_PORT the port.

# The person's settings for another server must not affect clients of this one.
unset PGHOST PGHOSTADDR PGPORT PGUSER PGPASSWORD PGPASSFILE PGDATABASE PGOPTIONS PGSERVICE \
    PGSSLMODE PGDATA PGAPPNAME PGCLIENTENCODING PGTZ

PG_SUPERUSER=postgres
PG_HOME=""
PG_PORT=""

# Prints the server's user: the current one, unless that is root.
pg_owner() {
    if [ "$(id -u)" -ne 0 ]; then
        id -un
    elif id postgres >/dev/null 2>&1; then
        echo postgres
    else
        echo nobody
    fi
}

# Runs a command as the server's user, from a folder that this user can read.
pg_as_owner() {
    local owner
    owner=$(pg_owner)
    if [ "$(id -u)" -ne 0 ]; then
        (cd / && exec "$@")
    elif command -v setpriv >/dev/null 2>&1; then
        (cd / && exec setpriv --reuid="$owner" --regid="$(id -g "$owner")" --clear-groups "$@")
    elif command -v runuser >/dev/null 2>&1; then
        (cd / && exec runuser -u "$owner" -- "$@")
    elif command -v sudo >/dev/null 2>&1; then
        (cd / && exec sudo -n -u "$owner" "$@")
    else
        die "PostgreSQL does not run as root, and setpriv, runuser and sudo are missing to become $owner"
    fi
}

# Prepares folder $1 as the cluster's home. Fails if the server's user cannot reach it (a checkout
# inside a home directory without access for other users).
pg_claim_home() {
    local folder=$1
    mkdir -p "$folder" || return 1
    if [ "$(id -u)" -eq 0 ]; then chown "$(pg_owner)" "$folder" || return 1; fi
    if ! chmod 700 "$folder" 2>/dev/null; then
        die "$folder belongs to another user of this computer. Remove it, or run the script as that user."
    fi
    pg_as_owner test -w "$folder"
}

# Sets PG_HOME to folder $1, or to one outside the checkout, whose path is stored beside $1.
pg_choose_home() {
    local folder=$1 note=$1.elsewhere parent
    if [ -f "$note" ]; then
        PG_HOME=$(cat "$note")
        if [ -d "$PG_HOME" ] && pg_claim_home "$PG_HOME"; then return 0; fi
        rm -f "$note"
    fi
    if pg_claim_home "$folder"; then
        PG_HOME=$folder
        return 0
    fi
    if [ -d "$folder" ]; then rmdir "$folder"; fi
    for parent in "${TMPDIR:-/var/tmp}" /var/tmp /tmp; do
        PG_HOME=$(mktemp -d "$parent/poblysh-postgres.XXXXXX") || continue
        if pg_claim_home "$PG_HOME"; then
            echo "$PG_HOME" >"$note"
            warn "user $(pg_owner) cannot reach $folder; the PostgreSQL cluster is in $PG_HOME"
            return 0
        fi
        rmdir "$PG_HOME"
    done
    die "found no folder for a PostgreSQL cluster that user $(pg_owner) can write to"
}

# Runs initdb. It reads the password from a file that only the server's user can read.
pg_create() {
    local mode=$1 initdb_log
    say "Creating a PostgreSQL cluster in $PG_HOME"
    rm -rf "$PG_HOME/data" "$PG_HOME/password"
    (umask 077 && random_hex 24 >"$PG_HOME/password")
    if [ "$(id -u)" -eq 0 ]; then chown "$(pg_owner)" "$PG_HOME/password"; fi
    set -- --pgdata="$PG_HOME/data" --username="$PG_SUPERUSER" --pwfile="$PG_HOME/password" \
        --encoding=UTF8 --locale=C
    if [ "$mode" = throwaway ]; then
        # SCRAM's thousands of rounds take a debug build 50 ms for each of the thousands of
        # connections that tests open. The password stays on this computer.
        set -- "$@" --auth=password --no-sync
    else
        set -- "$@" --auth=scram-sha-256 --data-checksums
    fi
    if ! initdb_log=$(pg_as_owner "$PG_BIN/initdb" "$@" 2>&1); then
        printf '%s\n' "$initdb_log" >&2
        rm -rf "$PG_HOME/data"
        die "initdb failed; see its messages above"
    fi
    echo "include_if_exists = 'poblysh.conf'" >>"$PG_HOME/data/postgresql.conf"
}

# Whether the server accepts setting $1=$2: lz4 is an option of its build.
pg_accepts() {
    pg_as_owner "$PG_BIN/postgres" -D "$PG_HOME/data" -C "$1" -c "$1=$2" >/dev/null 2>&1
}

# Writes the settings at every start, so that a new release's settings apply to old clusters.
pg_configure() {
    local mode=$1 settings=$PG_HOME/data/poblysh.conf
    {
        echo "listen_addresses = '127.0.0.1'"
        # The system refuses socket paths of more than about 100 characters.
        if [ "${#PG_HOME}" -le 80 ]; then
            echo "unix_socket_directories = '$PG_HOME'"
        else
            echo "unix_socket_directories = ''"
        fi
        echo "max_connections = 200"
        echo "shared_buffers = 256MB"
        echo "max_wal_size = 2GB"
        echo "password_encryption = scram-sha-256"
        echo "timezone = 'UTC'"
        echo "log_timezone = 'UTC'"
        if pg_accepts default_toast_compression lz4; then echo "default_toast_compression = lz4"; fi
        if pg_accepts wal_compression lz4; then echo "wal_compression = lz4"; fi
        echo "synchronous_commit = on"
        if [ "$mode" = throwaway ]; then
            # A crash of the server loses nothing this way; a crash of the computer would.
            echo "fsync = off"
            echo "full_page_writes = off"
        else
            echo "fsync = on"
            echo "full_page_writes = on"
        fi
    } >"$settings"
    if [ "$(id -u)" -eq 0 ]; then chown "$(pg_owner)" "$settings"; fi
}

# Prints the process id in postmaster.pid if that process is a server; else nothing. After a crash
# the id may belong to any process.
pg_running_pid() {
    local file=$PG_HOME/data/postmaster.pid pid name
    [ -f "$file" ] || return 0
    pid=$(head -n 1 "$file" 2>/dev/null)
    case "$pid" in '' | *[!0-9]*) return 0 ;; esac
    if [ -r "/proc/$pid/comm" ]; then
        name=$(cat "/proc/$pid/comm")
    else
        name=$(ps -o comm= -p "$pid" 2>/dev/null) || return 0
    fi
    case "${name##*/}" in postgres* | postmaster*) ;; *) return 0 ;; esac
    # A server's working directory is its data directory; where /proc exists, it is compared.
    # A zombie process has none.
    if [ -d "/proc/$pid" ] &&
        [ "$(readlink "/proc/$pid/cwd")" != "$(cd "$PG_HOME/data" && pwd -P)" ]; then
        return 0
    fi
    echo "$pid"
}

pg_answers() {
    printf 'SELECT 1;\n' | pg_sql postgres >/dev/null 2>&1
}

pg_start() {
    local log=$1 attempt mark why="" port=${POBLYSH_POSTGRES_PORT:-54320}
    if [ -n "$(pg_running_pid)" ]; then
        PG_PORT=$(sed -n 4p "$PG_HOME/data/postmaster.pid")
        if pg_answers; then return 0; fi
        warn "the PostgreSQL server runs but does not answer; restarting it"
        pg_close
    fi
    # The server does not run: files of a killed one would prevent the start.
    rm -f "$PG_HOME/data/postmaster.pid" "$PG_HOME"/.s.PGSQL.*
    : >>"$log"
    if [ "$(id -u)" -eq 0 ]; then chown "$(pg_owner)" "$log"; fi
    # Two errors are transient: another program takes the port between the check and the server's
    # bind, and children of a killed server hold its shared memory for a short time.
    for attempt in 1 2 3 4 5 6 7 8 9 10; do
        PG_PORT=$(free_port "$port") || return 1
        mark=$(wc -c <"$log")
        if pg_as_owner ${FAKE_CLOCK[@]+"${FAKE_CLOCK[@]}"} "$PG_BIN/pg_ctl" start --silent --wait --timeout=60 \
            --pgdata="$PG_HOME/data" --log="$log" -o "-p $PG_PORT" >/dev/null 2>&1 </dev/null; then
            return 0
        fi
        why=$(tail -c +$((mark + 1)) "$log")
        case $why in
            *'Address already in use'*) port=$((PG_PORT + 1)) ;;
            *'pre-existing shared memory block'*) sleep 1 ;;
            *) break ;;
        esac
    done
    printf '%s\n' "$why" >&2
    die "PostgreSQL did not start (attempt $attempt); its log is $log"
}

pg_open() {
    local folder=$1 mode=$2 log
    pg_choose_home "$folder"
    if [ ! -s "$PG_HOME/data/PG_VERSION" ] || [ ! -s "$PG_HOME/password" ]; then
        pg_create "$mode"
    elif [ "$(cat "$PG_HOME/data/PG_VERSION")" != "$(pg_version_in "$PG_BIN")" ]; then
        pg_use_version "$(cat "$PG_HOME/data/PG_VERSION")"
    fi
    log=${PG_LOG:-$PG_HOME/postgres.log}
    # The log stays with the cluster if the server's user cannot reach the folder of PG_LOG.
    if ! pg_as_owner test -x "$(dirname "$log")"; then log=$PG_HOME/postgres.log; fi
    if [ -z "$(pg_running_pid)" ]; then pg_configure "$mode"; fi
    pg_start "$log"
}

# Sets PG_BIN to the major version that created the cluster.
pg_use_version() {
    local folder
    while IFS= read -r folder; do
        if [ "$(pg_version_in "$folder")" = "$1" ]; then
            PG_BIN=$folder
            return 0
        fi
    done < <(pg_candidate_folders)
    die "the cluster in $PG_HOME was created by PostgreSQL $1, which is no longer installed. Remove that folder to start with a new cluster."
}

pg_sql() {
    PGPASSWORD=$(cat "$PG_HOME/password") PGCONNECT_TIMEOUT=5 \
        "$PG_BIN/psql" --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 \
        --host=127.0.0.1 --port="$PG_PORT" --username="$PG_SUPERUSER" --dbname="$1"
}

pg_url() {
    echo "postgres://${2:-$PG_SUPERUSER}:${3:-$(cat "$PG_HOME/password")}@127.0.0.1:$PG_PORT/$1"
}

pg_close() {
    if [ -z "$PG_HOME" ] || [ -z "$(pg_running_pid)" ]; then return 0; fi
    if pg_as_owner "$PG_BIN/pg_ctl" stop --silent --mode=fast --wait --timeout=60 \
        --pgdata="$PG_HOME/data" >&2; then
        return 0
    fi
    pg_as_owner "$PG_BIN/pg_ctl" stop --silent --mode=immediate --pgdata="$PG_HOME/data" >&2
}
