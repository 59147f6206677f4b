# shellcheck shell=bash
# The Rust toolchain. Needs say.sh; source this file from the checkout.

# The Procfile looks for programs there, whatever the person's own configuration says.
CARGO_TARGET_DIR=$PWD/target
export CARGO_TARGET_DIR
unset CARGO_BUILD_TARGET

# Puts cargo on PATH where rustup put it but the shell does not know, or ends with what to do.
require_cargo() {
    if ! command -v cargo >/dev/null 2>&1 && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH=$HOME/.cargo/bin:$PATH
        export PATH
    fi
    command -v cargo >/dev/null 2>&1 || die "cargo is missing; install Rust from https://rustup.rs"
}

# Cargo's subcommand $1, from rustup's component $2 when it is not there.
require_component() {
    if cargo "$1" --version >/dev/null 2>&1; then return 0; fi
    command -v rustup >/dev/null 2>&1 || die "cargo $1 is missing; install $2 for this toolchain"
    say "Installing $2"
    rustup component add "$2" >&2
}
