# shellcheck shell=bash
# Checks of the systemd units. Source this file from the checkout.

# The highest exposure level that `systemd-analyze security` may report, of 10. A process needs
# sockets, which count as exposure.
UNITS_MAX_EXPOSURE=1.5

# Whether all units are valid, and confined up to what a process with sockets needs.
units_are_confined() {
    local root unit program status=0 report
    root=$(mktemp -d)
    mkdir -p "$root/etc/systemd/system"
    cp deploy/systemd/* "$root/etc/systemd/system/"
    # The verification looks for the programs, and for the targets that all units need.
    sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' deploy/systemd/*.service | while IFS= read -r program; do
        install -D -m 755 /bin/true "$root$program"
    done
    for unit in basic shutdown sysinit; do
        printf '[Unit]\nDescription=%s\n' "$unit" >"$root/etc/systemd/system/$unit.target"
    done
    for unit in deploy/systemd/*; do
        report=$(systemd-analyze verify --root="$root" "$root/etc/systemd/system/$(basename "$unit")" 2>&1) || status=1
        if [ -n "$report" ]; then
            printf '%s\n' "$report" >&2
            status=1
        fi
    done
    for unit in deploy/systemd/*.service; do
        report=$(systemd-analyze security --offline=true --no-pager "$unit" 2>&1 | sed -n 's/.*exposure level for [^:]*: \([0-9.]*\).*/\1/p')
        if ! awk -v level="${report:-10}" -v limit="$UNITS_MAX_EXPOSURE" 'BEGIN { exit !(level <= limit) }'; then
            echo "$unit has an exposure level of ${report:-unknown}, more than $UNITS_MAX_EXPOSURE" >&2
            status=1
        fi
    done
    rm -rf "$root"
    return "$status"
}
