# shellcheck shell=bash
# Finds PostgreSQL's programs and installs them from the system's packages when they are
# missing. Sets PG_BIN. Needs say.sh. Source this file.

PG_MINIMUM=15

# Prints the major version of the server programs in folder $1; nothing if one is missing.
pg_version_in() {
    local program
    for program in postgres initdb pg_ctl psql; do
        [ -x "$1/$program" ] || return 0
    done
    # "postgres (PostgreSQL) 15.18 (Debian …)", "… 18beta1"
    "$1/postgres" --version 2>/dev/null | sed -n 's/^postgres (PostgreSQL) \([0-9]*\).*/\1/p'
}

# Prints folders that may hold the programs, one per line.
pg_candidate_folders() {
    local folder
    if [ -n "${POBLYSH_POSTGRES_BIN:-}" ]; then
        echo "$POBLYSH_POSTGRES_BIN"
        return
    fi
    if command -v postgres >/dev/null 2>&1; then dirname "$(command -v postgres)"; fi
    if command -v pg_config >/dev/null 2>&1; then pg_config --bindir; fi
    for folder in \
        /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/libexec/postgresql*/ \
        /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin \
        /home/linuxbrew/.linuxbrew/opt/postgresql*/bin \
        /Applications/Postgres.app/Contents/Versions/*/bin /usr/local/pgsql/bin; do
        if [ -d "$folder" ]; then echo "${folder%/}"; fi
    done
}

# Sets PG_BIN to the newest usable version. Fails if there is none.
pg_find() {
    local folder version best=0
    PG_BIN=""
    while IFS= read -r folder; do
        version=$(pg_version_in "$folder")
        if [ -n "$version" ] && [ "$version" -ge "$PG_MINIMUM" ] && [ "$version" -gt "$best" ]; then
            best=$version
            PG_BIN=$folder
        fi
    done < <(pg_candidate_folders)
    [ -n "$PG_BIN" ]
}

# Runs a command as root: directly, or through sudo, which may ask for a password only on a
# terminal.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1 && [ -t 0 ]; then
        sudo "$@"
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        die "a package is missing and installing it needs root. Please run: $*"
    fi
}

apt_update() { as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2; }

# Installs packages of Debian without questions.
apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

# Debian's packages create and start a system cluster. The scripts use a private one, so this is
# switched off during the installation and restored afterwards.
install_with_apt() {
    local settings=/etc/postgresql-common/createcluster.conf
    apt_update
    apt_install postgresql-common ca-certificates
    as_root cp -p "$settings" "$settings.poblysh"
    as_root sh -c "echo 'create_main_cluster = false' >>$settings"
    local status=0
    apt_install_server || status=$?
    as_root mv -f "$settings.poblysh" "$settings"
    return "$status"
}

apt_install_server() {
    local offered
    offered=$(apt-cache depends postgresql 2>/dev/null | sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p' | head -n 1)
    if [ "${offered:-0}" -lt "$PG_MINIMUM" ]; then
        say "This system's PostgreSQL is ${offered:-unknown}; adding the PostgreSQL project's packages"
        as_root env DEBIAN_FRONTEND=noninteractive YES=yes \
            /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y >&2 || return 1
    fi
    apt_install postgresql
}

install_with_dnf() {
    # Fedora and Enterprise Linux offer newer versions as separate packages or as a module.
    local package
    for package in postgresql18-server postgresql17-server postgresql16-server; do
        if dnf -q list --available "$package" >/dev/null 2>&1; then
            as_root dnf -y -q install "$package" "${package%-server}" >&2
            return
        fi
    done
    if dnf -q module list postgresql:16 >/dev/null 2>&1; then
        as_root dnf -y -q module enable postgresql:16 >&2
    fi
    as_root dnf -y -q install postgresql-server postgresql >&2
}

# Homebrew refuses root, and asks for a password where it needs one.
install_with_brew() {
    HOMEBREW_NO_AUTO_UPDATE=1 brew install --quiet postgresql@17 >&2
}

# Sets PG_BIN, after an installation if necessary, or ends the script with a reason.
pg_require() {
    if pg_find; then return 0; fi
    if [ -n "${POBLYSH_POSTGRES_BIN:-}" ]; then
        die "POBLYSH_POSTGRES_BIN=$POBLYSH_POSTGRES_BIN holds no PostgreSQL $PG_MINIMUM or newer (postgres, initdb, pg_ctl, psql)"
    fi
    local installer=""
    if command -v apt-get >/dev/null 2>&1; then
        installer=apt
    elif command -v dnf >/dev/null 2>&1; then
        installer=dnf
    elif command -v brew >/dev/null 2>&1; then
        installer=brew
    else
        die "PostgreSQL $PG_MINIMUM or newer is missing, and apt, dnf and brew are missing too. Install its server (postgres, initdb, pg_ctl, psql) and add it to PATH, or name its folder in POBLYSH_POSTGRES_BIN."
    fi
    say "PostgreSQL $PG_MINIMUM or newer is missing; installing it with $installer"
    "install_with_$installer" || die "$installer could not install PostgreSQL; see its messages above"
    pg_find || die "$installer installed no PostgreSQL $PG_MINIMUM or newer. Install one and name its folder of programs in POBLYSH_POSTGRES_BIN."
    say "PostgreSQL $("$PG_BIN/postgres" --version | sed 's/^postgres (PostgreSQL) //') is in $PG_BIN"
}
