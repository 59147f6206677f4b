# shellcheck shell=bash
# Packages from npm, at the versions of a lock file. Needs say.sh. Source this file.

# Installs the packages of $1/package-lock.json into $2, unless the installed ones are from the same
# lock file. $3 describes them in messages.
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

# Installs the tools that check the specifications.
require_node_tools() {
    npm_install scripts/tools .local/node "the tools that check specifications"
}

# The folder in which the clients' scripts run: Node.js resolves modules from a script's folder.
CLIENTS=.local/clients

# Installs the libraries of tests/clients/*.mjs, and these scripts, in CLIENTS.
require_node_clients() {
    npm_install tests/clients "$CLIENTS" "third-party clients"
    cp tests/clients/*.mjs "$CLIENTS/"
}

# The folder in which the peers' scripts run.
PEERS=.local/peers

# Installs other queues for Node.js, and the scripts that drive them, in PEERS.
require_node_peers() {
    npm_install tests/peers/node "$PEERS" "the queues for comparison"
    cp tests/peers/node/*.mjs "$PEERS/"
}

# The folder in which the script that opens the pages runs.
PAGES=.local/pages

# Installs Playwright, axe and the script that opens the pages in PAGES.
require_node_pages() {
    npm_install tests/pages "$PAGES" "Playwright and axe"
    cp tests/pages/*.mjs tests/clients/checks.mjs "$PAGES/"
}

# The folder in which provider emulators and their scripts run, and the Node.js that runs them.
EMULATORS=.local/emulators
EMULATORS_NODE=$EMULATORS/node_modules/.bin/node

# Installs emulate with the Node.js that it needs, and the scripts that drive it, in EMULATORS.
require_node_emulators() {
    npm_install tests/emulators "$EMULATORS" "third-party emulators"
    cp tests/emulators/*.mjs tests/clients/checks.mjs "$EMULATORS/"
    if [ -x "$EMULATORS_NODE" ]; then return 0; fi
    EMULATORS_NODE=$(command -v node)
    "$EMULATORS_NODE" -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 24 ? 0 : 1)' ||
        die "emulate needs Node.js 24 or newer (https://nodejs.org)"
}
