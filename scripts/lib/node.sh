# shellcheck shell=bash
# Tools from npm, pinned in scripts/tools/, installed under .local/node. Needs say.sh. Source
# this file.

# Installs them unless what is there was made from the same lock file.
require_node_tools() {
    command -v npm >/dev/null 2>&1 ||
        die "npm is missing; the specifications are checked with Node.js 20.19 or newer (https://nodejs.org)"
    if cmp -s scripts/tools/package-lock.json .local/node/installed.json; then return 0; fi
    say "Installing tools from npm into .local/node"
    mkdir -p .local/node
    cp scripts/tools/package.json scripts/tools/package-lock.json .local/node/
    npm ci --prefix .local/node --ignore-scripts --no-audit --no-fund --loglevel=error >&2
    cp scripts/tools/package-lock.json .local/node/installed.json
}
