# shellcheck shell=bash
# Base images from Debian's packages, for computers that can pull no image. Needs say.sh, docker.sh,
# cargo.sh and postgres-install.sh, and root. Source this file, then:
#   debian_system FOLDER           installs a minimal Debian with certificates in FOLDER
#   debian_builder FOLDER NAME     makes image NAME of it: a C compiler, this computer's Rust, its crates
#   debian_postgres FOLDER NAME    makes image NAME of it: PostgreSQL, with the settings of the official image
#   debian_remove FOLDER           removes the folder

# Prints the archive and the release that apt uses here.
debian_source() {
    # shellcheck disable=SC2016 # apt's fields, not the shell's
    apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        awk '$3 == "main" && $2 !~ /-/ { print $1, $2; exit }'
}

debian_system() {
    local folder=$1 site release
    [ "$(id -u)" -eq 0 ] || die "base images from Debian's packages need root"
    command -v debootstrap >/dev/null 2>&1 || docker_install debootstrap debootstrap
    read -r site release < <(debian_source)
    [ -n "${release:-}" ] || die "apt has no source to make base images from"
    say "Installing Debian $release in a folder (debootstrap)"
    mkdir -p "$folder"
    run debootstrap --variant=minbase --include=ca-certificates "$release" "$folder" "$site" >"$folder.log" 2>&1 || {
        tail -n 5 "$folder.log" >&2
        die "debootstrap failed"
    }
    # Packages of later updates are not needed; the caches would only make the image larger.
    printf '#!/bin/sh\nexit 101\n' >"$folder/usr/sbin/policy-rc.d"
    chmod 755 "$folder/usr/sbin/policy-rc.d"
}

# Installs packages $2… in the system of folder $1.
debian_add() {
    local folder=$1
    shift
    cp /etc/resolv.conf "$folder/etc/resolv.conf"
    if ! {
        run chroot "$folder" env DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
            run chroot "$folder" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
                -o Dpkg::Options::=--force-confold "$@" &&
            run chroot "$folder" apt-get clean
    } >>"$folder.log" 2>&1; then
        tail -n 5 "$folder.log" >&2
        die "apt-get could not install $* in $folder"
    fi
    rm -rf "$folder"/var/lib/apt/lists/*
}

# Makes image $2 of the files in folder $1, with configuration $3….
debian_import() {
    local folder=$1 name=$2 change
    local -a changes=()
    shift 2
    for change in "$@"; do changes+=(--change "$change"); done
    tar --create --directory="$folder" --numeric-owner --one-file-system --exclude=./proc/* --exclude=./sys/* . |
        "${DOCKER[@]}" import "${changes[@]}" - "$name" >/dev/null || die "could not import the image $name"
}

debian_builder() {
    local folder=$1 name=$2 cargo_home=${CARGO_HOME:-$HOME/.cargo} sysroot part
    sysroot=$(rustc --print sysroot)
    say "Making a builder image of it, with a C compiler and $(rustc --version)"
    debian_add "$folder" gcc libc6-dev
    mkdir -p "$folder/usr/local/rust" "$folder/usr/local/cargo/registry"
    for part in bin lib libexec; do
        if [ -d "$sysroot/$part" ]; then cp -a "$sysroot/$part" "$folder/usr/local/rust/"; fi
    done
    # The crates of the lock file, so that the build downloads nothing.
    run cargo fetch --quiet --locked --target "$(rustc -vV | sed -n 's/^host: //p')"
    for part in cache index; do cp -a "$cargo_home/registry/$part" "$folder/usr/local/cargo/registry/"; done
    debian_import "$folder" "$name" 'ENV PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
        'ENV CARGO_HOME=/usr/local/cargo' 'ENV CARGO_NET_OFFLINE=true'
}

debian_postgres() {
    local folder=$1 name=$2 version
    say "Making a PostgreSQL image of it"
    mkdir -p "$folder/etc/postgresql-common"
    echo 'create_main_cluster = false' >"$folder/etc/postgresql-common/createcluster.conf"
    debian_add "$folder" postgresql
    version=$(basename "$(ls -d "$folder"/usr/lib/postgresql/*)")
    install -m 755 scripts/lib/debian_postgres_entrypoint "$folder/usr/local/bin/entrypoint"
    install -d -m 700 "$folder/var/lib/postgresql/data"
    chroot "$folder" chown -R postgres:postgres /var/lib/postgresql
    # As in the official image: a tmpfs there takes its mode.
    install -d -m 3777 "$folder/run/postgresql"
    debian_import "$folder" "$name" "ENV PATH=/usr/lib/postgresql/$version/bin:/usr/local/bin:/usr/bin:/bin" \
        'ENV PGDATA=/var/lib/postgresql/data' 'ENTRYPOINT ["entrypoint"]'
}

debian_remove() { rm -rf "$1" "$1.log"; }
