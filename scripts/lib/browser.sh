# shellcheck shell=bash
# The browser that a script drives. Needs say.sh. Source this file.

# Sets BROWSER to Chromium or Chrome as the system has it, or to POBLYSH_BROWSER.
require_browser() {
    local program
    BROWSER=${POBLYSH_BROWSER:-}
    for program in chromium chromium-browser google-chrome google-chrome-stable; do
        [ -n "$BROWSER" ] || BROWSER=$(command -v "$program" || true)
    done
    [ -n "$BROWSER" ] ||
        die "no browser is installed: install Chromium (package chromium) or name one in POBLYSH_BROWSER"
}
