# shellcheck shell=bash
# Packages from npm, at the versions of a lock file. Needs say.sh. Source this file.

# Installs what $1/package-lock.json names into $2, unless what is there was made from the same
# lock file. $3 says what needs it.
npm_install() {
    local from=$1 into=$2 what=$3
    if ! { command -v node && command -v npm; } >/dev/null 2>&1; then
        die "Node.js 20.19 or newer with npm is missing (https://nodejs.org): $what need it"
    fi
    if cmp -s "$from/package-lock.json" "$into/installed.json"; then return 0; fi
    say "Installing $what from npm into $into"
    mkdir -p "$into"
    cp "$from/package.json" "$from/package-lock.json" "$into/"
    npm ci --prefix "$into" --ignore-scripts --no-audit --no-fund --loglevel=error >&2 ||
        die "npm could not install $what"
    cp "$from/package-lock.json" "$into/installed.json"
}

# What checks the specifications.
require_node_tools() {
    npm_install scripts/tools .local/node "the tools that check specifications"
}

# Where the clients' scripts are run: modules are found from where a script lies.
CLIENTS=.local/clients

# What tests/clients/*.mjs are written with, and these themselves, in CLIENTS.
require_node_clients() {
    npm_install tests/clients "$CLIENTS" "clients that others wrote"
    cp tests/clients/*.mjs "$CLIENTS/"
}

# Where the peers' scripts are run.
PEERS=.local/peers

# Other queues that run in Node.js, and the scripts that drive them, in PEERS.
require_node_peers() {
    npm_install tests/peers/node "$PEERS" "the queues that ours is measured beside"
    cp tests/peers/node/*.mjs "$PEERS/"
}

# Where emulators of providers and the scripts that drive them are run, and by which Node.js.
EMULATORS=.local/emulators
EMULATORS_NODE=$EMULATORS/node_modules/.bin/node

# emulate with the Node.js that it needs, and the scripts that drive it, in EMULATORS.
require_node_emulators() {
    npm_install tests/emulators "$EMULATORS" "emulators that others wrote"
    cp tests/emulators/*.mjs tests/clients/checks.mjs "$EMULATORS/"
    if [ -x "$EMULATORS_NODE" ]; then return 0; fi
    EMULATORS_NODE=$(command -v node)
    "$EMULATORS_NODE" -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 24 ? 0 : 1)' ||
        die "emulate needs Node.js 24 or newer (https://nodejs.org)"
}
