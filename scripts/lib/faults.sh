# shellcheck shell=bash
# What the fault tests need beside a PostgreSQL that runs, and their long forms. Needs say.sh,
# postgres-install.sh, cargo.sh and run.sh. Source this file from the checkout, then:
#   faults_prepare yes|no   what they need, as far as it can be had; all of it for a long run
#   faults_run [NAME]       the fault tests alone, in their long forms

faults_prepare() {
    local long=$1
    if [ "${CI:-}" = true ]; then long=yes; fi
    # Those that stop a server or fill its disk have servers of their own.
    if pg_find; then
        export POBLYSH_POSTGRES_BIN=$PG_BIN
    else
        warn "there are no PostgreSQL server programs here; tests that start servers will skip"
    fi
    faults_packages
    faults_previous_release "$long"
}

faults_run() {
    local command
    faults_lengths
    say "Faults, in their long forms"
    if cargo nextest --version >/dev/null 2>&1; then
        # With them the feed's own proof, over a million Signals.
        command=(cargo nextest run --workspace --profile faults "$@"
            -E 'binary(faults) or test(=feed::readers_see_every_signal_exactly_once)')
    else
        command=(cargo test --workspace --test faults --no-fail-fast "$@" -- --nocapture)
    fi
    run "${command[@]}"
}

# The long forms, for whatever is not set already.
faults_lengths() {
    export POBLYSH_FAULTS_KILLS=${POBLYSH_FAULTS_KILLS:-100}
    export POBLYSH_FAULTS_RESTARTS=${POBLYSH_FAULTS_RESTARTS:-10}
    export POBLYSH_FAULTS_TERMINATE_SECONDS=${POBLYSH_FAULTS_TERMINATE_SECONDS:-60}
    export POBLYSH_FAULTS_CUT_SECONDS=${POBLYSH_FAULTS_CUT_SECONDS:-30}
    export POBLYSH_FAULTS_DISK_ROUNDS=${POBLYSH_FAULTS_DISK_ROUNDS:-5}
    export POBLYSH_FAULTS_TERMINATIONS=${POBLYSH_FAULTS_TERMINATIONS:-5}
    export POBLYSH_FAULTS_CLOCK_ROUNDS=${POBLYSH_FAULTS_CLOCK_ROUNDS:-3}
    export POBLYSH_FAULTS_SINGLE_JOBS=${POBLYSH_FAULTS_SINGLE_JOBS:-300}
    export POBLYSH_FAULTS_POOLER_ROUNDS=${POBLYSH_FAULTS_POOLER_ROUNDS:-20}
    export POBLYSH_FAULTS_REPLICA_ROUNDS=${POBLYSH_FAULTS_REPLICA_ROUNDS:-3}
    export POBLYSH_FAULTS_REPLICA_SILENCE=${POBLYSH_FAULTS_REPLICA_SILENCE:-1}
    export POBLYSH_FAULTS_OVERLOAD_SECONDS=${POBLYSH_FAULTS_OVERLOAD_SECONDS:-3600}
    export POBLYSH_FEED_SIGNALS=${POBLYSH_FEED_SIGNALS:-1000000}
    export POBLYSH_FAULTS_OVERLOAD_MIB=${POBLYSH_FAULTS_OVERLOAD_MIB:-32}
}

# Whether a command can be run as root without asking anybody.
can_be_root() {
    [ "$(id -u)" -eq 0 ] || { command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; }
}

# PgBouncer and libfaketime from Debian's packages. A test whose program is missing says so.
faults_packages() {
    local missing=()
    command -v apt-get >/dev/null 2>&1 || return 0
    [ -x /usr/sbin/pgbouncer ] || missing+=(pgbouncer)
    compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || missing+=(libfaketime)
    if [ ${#missing[@]} -eq 0 ]; then return 0; fi
    if ! can_be_root; then
        warn "${missing[*]} would need root to be installed; the tests that want them will skip"
        return 0
    fi
    say "Installing ${missing[*]} for the fault tests"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 ||
        warn "apt could not install ${missing[*]}; see its messages above"
    # The package starts a pooler of the system's, which nobody has asked for.
    if [ -d /run/systemd/system ] && [[ " ${missing[*]} " == *" pgbouncer "* ]]; then
        as_root systemctl disable --quiet --now pgbouncer || return 0
    fi
}

# The binaries of the previous release: of the main line's commit before the newest migration. They are
# built once and kept below target/; the dependencies that both releases share are copied, not
# compiled again. Building takes minutes, so it is left out where nobody asked for it ($1 is
# `no`), and the test says so. Sets POBLYSH_PREVIOUS_RELEASE, to `none` where history knows none.
faults_previous_release() {
    local build=$1 newest added release folder name status=0
    newest=$(printf "%s\n" migrations/src/m[0-9]*/ | sort | tail -n 1)
    if [ "$(git rev-parse --is-shallow-repository 2>/dev/null)" = true ] && [ "$build" = yes ]; then
        say "Fetching the history, in which the previous release is"
        git fetch --quiet --unshallow || warn "the history could not be fetched"
    fi
    added=$(git log --first-parent -m --diff-filter=A --format=%H -1 -- "$newest" 2>/dev/null) || added=""
    release=$(git rev-parse --verify --quiet "${added:-nothing}^" 2>/dev/null) || release=""
    if [ -z "$release" ]; then
        if [ "$(git rev-parse --is-shallow-repository 2>/dev/null)" != true ]; then
            export POBLYSH_PREVIOUS_RELEASE=none
        fi
        return 0
    fi
    folder=$PWD/target/previous-release/$release
    export POBLYSH_PREVIOUS_RELEASE=$folder
    if [ -x "$folder/sync-worker" ] || [ "$build" = no ]; then return 0; fi
    say "Building the previous release (${release:0:7})"
    rm -rf target/previous-release
    mkdir -p "$folder/source" "$folder/target/debug/deps"
    git archive "$release" | tar -x -C "$folder/source"
    cp -a target/debug/build target/debug/.fingerprint "$folder/target/debug/"
    find target/debug/deps -maxdepth 1 -name '*.*' -exec cp -a -t "$folder/target/debug/deps" {} +
    run cargo build --manifest-path "$folder/source/Cargo.toml" --target-dir "$folder/target" \
        --workspace --bin api-server --bin webhook-ingress --bin sync-worker || status=$?
    if [ "$status" -eq 0 ]; then
        for name in api-server webhook-ingress sync-worker; do
            mv "$folder/target/debug/$name" "$folder/$name"
        done
    fi
    rm -rf "$folder/source" "$folder/target"
    return "$status"
}
