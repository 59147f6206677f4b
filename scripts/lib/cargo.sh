# shellcheck shell=bash
# The Rust toolchain. Needs say.sh; source this file from the checkout.

# The Procfile expects programs there; this overrides the person's Cargo configuration.
CARGO_TARGET_DIR=$PWD/target
export CARGO_TARGET_DIR
unset CARGO_BUILD_TARGET

# Adds rustup's folder to PATH if cargo is missing there, or ends with installation instructions.
require_cargo() {
    if ! command -v cargo >/dev/null 2>&1 && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH=$HOME/.cargo/bin:$PATH
        export PATH
    fi
    command -v cargo >/dev/null 2>&1 || die "cargo is missing; install Rust from https://rustup.rs"
}

# Installs rustup's component $2 if cargo's subcommand $1 is missing.
require_component() {
    if cargo "$1" --version >/dev/null 2>&1; then return 0; fi
    command -v rustup >/dev/null 2>&1 || die "cargo $1 is missing; install $2 for this toolchain"
    say "Installing $2"
    rustup component add "$2" >&2
}
