# shellcheck shell=bash
# A clock that runs faster than real time, shared by all processes that start under it, with
# libfaketime. Needs say.sh and postgres-install.sh. Source this file, then:
#   fake_clock_require             finds libfaketime, and installs it when it is missing
#   fake_clock_start FACTOR FOLDER creates the clock; FOLDER is for its files, open to all users
#   fake_clock_run COMMAND…        runs a command and its children under the clock
#   fake_clock_stop                removes the clock once its last process has ended
# After fake_clock_start, FAKE_CLOCK is the prefix that runs a command under the clock.
# FAKE_CLOCK is empty without a clock.

FAKE_CLOCK=()
FAKE_CLOCK_LIBRARY=""

# Sets FAKE_CLOCK_LIBRARY to the library for programs with threads. Fails if there is none.
fake_clock_find() {
    command -v faketime >/dev/null 2>&1 || return 1
    for FAKE_CLOCK_LIBRARY in /usr/lib/*/faketime /usr/lib64/faketime /usr/lib/faketime; do
        FAKE_CLOCK_LIBRARY=$FAKE_CLOCK_LIBRARY/libfaketimeMT.so.1
        if [ -f "$FAKE_CLOCK_LIBRARY" ]; then return 0; fi
    done
    return 1
}

fake_clock_require() {
    [ "$(uname -s)" = Linux ] || die "the fake clock works on Linux only"
    if fake_clock_find; then return 0; fi
    if command -v apt-get >/dev/null 2>&1; then
        say "libfaketime is missing; installing it with apt"
        apt_update
        apt_install faketime ||
            die "apt could not install faketime; see its messages above"
    elif command -v dnf >/dev/null 2>&1; then
        say "libfaketime is missing; installing it with dnf"
        as_root dnf -y -q install libfaketime >&2 ||
            die "dnf could not install libfaketime; see its messages above"
    fi
    fake_clock_find || die "libfaketime and its command faketime are missing; install them"
}

fake_clock_start() {
    local factor=$1 note=$2/clock waits=$2/fake_clock.so semaphore memory attempt
    # The Rust toolchain links with the same compiler.
    cc -O2 -shared -fPIC -o "$waits" scripts/lib/fake_clock.c -ldl ||
        die "a C compiler (cc) is needed for the fake clock"
    # Without shared memory each process counts from its own start. The command faketime creates
    # shared memory with one start for all. It exists until the last process closes descriptor 8:
    # this shell and its children. Signals are ignored so that it is always removed.
    exec 8> >(
        trap '' INT TERM HUP
        # shellcheck disable=SC2016 # expanded by the inner shell
        exec faketime -m -f "+0 x$factor" sh -c \
            'echo "$FAKETIME_SHARED" >"$1.new" && mv "$1.new" "$1" && exec cat' sh "$note"
    )
    for ((attempt = 0; attempt < 100; attempt++)); do
        if [ -s "$note" ]; then break; fi
        sleep 0.1
    done
    [ -s "$note" ] || die "the command faketime did not create a clock"
    read -r semaphore memory <"$note"
    # PostgreSQL runs as another user.
    chmod 755 "$waits"
    chmod 666 "/dev/shm/sem.${semaphore#/}" "/dev/shm/${memory#/}"
    export FAKETIME="+0 x$factor" FAKETIME_SHARED="$semaphore $memory"
    # A faked stat() takes the shared semaphore, so a process killed inside one would block all.
    export NO_FAKE_STAT=1
    # pg_ctl waits a minute for the server, which needs real time.
    export FAKETIME_SKIP_CMDS=pg_ctl
    FAKE_CLOCK=(env "LD_PRELOAD=$waits:$FAKE_CLOCK_LIBRARY")
}

fake_clock_run() { ${FAKE_CLOCK[@]+"${FAKE_CLOCK[@]}"} "$@"; }

fake_clock_stop() {
    if [ ${#FAKE_CLOCK[@]} -eq 0 ]; then return 0; fi
    FAKE_CLOCK=()
    exec 8>&-
}
