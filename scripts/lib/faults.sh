# shellcheck shell=bash
# Prerequisites of the fault tests besides a running PostgreSQL, and their long forms. Needs say.sh,
# postgres-install.sh, cargo.sh and run.sh. Source this file from the checkout, then:
#   faults_prepare yes|no   installs the available prerequisites; all of them for a long run
#   faults_run [NAME]       runs only the fault tests, in their long forms
#   faults_pace             large accounts at the providers' own limits, under a faked clock

faults_prepare() {
    local long=$1
    if [ "${CI:-}" = true ]; then long=yes; fi
    # Tests that stop a server or fill its disk start separate servers.
    if pg_find; then
        export POBLYSH_POSTGRES_BIN=$PG_BIN
    else
        warn "no PostgreSQL server programs are installed; tests that start servers will skip"
    fi
    faults_packages
    faults_previous_release "$long"
}

faults_run() {
    local command
    faults_lengths
    say "Faults, in their long forms"
    if cargo nextest --version >/dev/null 2>&1; then
        # Includes the feed test with a million Signals.
        command=(cargo nextest run --workspace --profile faults "$@"
            -E 'binary(faults) or test(=feed::readers_see_every_signal_exactly_once)')
    else
        command=(cargo test --workspace --test faults --no-fail-fast "$@" -- --nocapture)
    fi
    run "${command[@]}"
}

faults_pace() {
    say "Large accounts, read at the providers' own limits"
    run env POBLYSH_PACE_LONG=1 POBLYSH_QUOTA_REPOSITORIES=300 POBLYSH_QUOTA_HISTORY=333 \
        POBLYSH_QUOTA_SECONDS=3600 \
        scripts/test --clock-factor 10 -p poblysh-tests \
        backfill_and_poll_end_at_default_pace github_quota -- --profile faults
}

# Sets the parameters of the long forms that are not set already.
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

# Whether a command can be run as root without a password prompt.
can_be_root() {
    [ "$(id -u)" -eq 0 ] || { command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; }
}

# Installs PgBouncer and libfaketime from Debian's packages. A test whose program is missing skips.
faults_packages() {
    local missing=()
    command -v apt-get >/dev/null 2>&1 || return 0
    [ -x /usr/sbin/pgbouncer ] || missing+=(pgbouncer)
    compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || missing+=(libfaketime)
    if [ ${#missing[@]} -eq 0 ]; then return 0; fi
    if ! can_be_root; then
        warn "installing ${missing[*]} needs root; the tests that need them will skip"
        return 0
    fi
    say "Installing ${missing[*]} for the fault tests"
    apt_update
    apt_install "${missing[@]}" ||
        warn "apt could not install ${missing[*]}; see its messages above"
    # The package starts a system-wide pooler, which no test uses.
    if [ -d /run/systemd/system ] && [[ " ${missing[*]} " == *" pgbouncer "* ]]; then
        as_root systemctl disable --quiet --now pgbouncer || return 0
    fi
}

# The programs of the previous release: of the newest tag v* before this commit. They are built
# once and kept below target/; the dependencies that both releases share are copied, not compiled
# again. Building takes minutes, so it happens only when $1 is `yes`. Sets POBLYSH_PREVIOUS_RELEASE
# when they exist; otherwise the test replaces the processes with others of the same build.
faults_previous_release() {
    local build=$1 tag folder name status=0
    if [ "$build" = yes ] && [ "$(git rev-parse --is-shallow-repository 2>/dev/null)" = true ]; then
        say "Fetching the history with its tags"
        run git fetch --quiet --tags --unshallow || warn "the history could not be fetched"
    fi
    # Without a repository there is no tag.
    tag=$(git -c versionsort.suffix=- tag --list 'v[0-9]*' --merged HEAD --no-contains HEAD \
        --sort=-version:refname 2>/dev/null | sed -n 1p) || tag=""
    if [ -z "$tag" ]; then return 0; fi
    folder=$PWD/target/previous-release/$(git rev-parse "$tag^{commit}")
    if [ ! -x "$folder/sync-worker" ]; then
        if [ "$build" = no ]; then return 0; fi
        say "Building the previous release ($tag)"
        rm -rf target/previous-release
        mkdir -p "$folder/source" "$folder/target/debug/deps"
        git archive "$tag" | tar -x -C "$folder/source"
        cp -a target/debug/build target/debug/.fingerprint "$folder/target/debug/"
        find target/debug/deps -maxdepth 1 -name '*.*' -exec cp -a -t "$folder/target/debug/deps" {} +
        run cargo build --manifest-path "$folder/source/Cargo.toml" --target-dir "$folder/target" \
            --workspace --bin api-server --bin webhook-ingress --bin migrations --bin sync-worker ||
            status=$?
        if [ "$status" -eq 0 ]; then
            for name in api-server webhook-ingress migrations sync-worker; do
                mv "$folder/target/debug/$name" "$folder/$name"
            done
        fi
        rm -rf "$folder/source" "$folder/target"
        if [ "$status" -ne 0 ]; then return "$status"; fi
    fi
    export POBLYSH_PREVIOUS_RELEASE=$folder
}
