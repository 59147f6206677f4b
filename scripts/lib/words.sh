# shellcheck shell=bash
# Rejects phrases and names that the project has given up, and modules without documentation;
# docs/glossary.md has the words in use.
# The lists are in scripts/lib/words: a pattern, a tab, and a proposal on each line.

# Prints "FILE:LINE:found (instead: proposal)" for each match of a list; fails if there is one.
#   words_report LIST PREFIX SUFFIX FILE…
words_report() {
    local list=$1 prefix=$2 suffix=$3 pattern proposal found status=0
    shift 3
    while IFS=$'\t' read -r pattern proposal; do
        case $pattern in '' | '#'*) continue ;; esac
        if found=$(grep -HnoP -- "$prefix$pattern$suffix" "$@" /dev/null); then
            proposal="    (instead: $proposal)"
            echo "${found//$'\n'/$proposal$'\n'}$proposal"
            status=1
        fi
    done <"$list"
    return "$status"
}

# Prints the Rust files whose first line is no documentation of the module; fails if there is one.
modules_are_described() {
    local path first status=0
    for path in "$@"; do
        case $path in *.rs) ;; *) continue ;; esac
        IFS= read -r first <"$path" || true
        case $first in
            '//!'*) ;;
            *)
                echo "$path:1:no documentation of the module    (instead: a first line with //!)"
                status=1
                ;;
        esac
    done
    return "$status"
}

words_are_plain() {
    local lists=scripts/lib/words status=0 path pattern proposal
    local -a paths prose=() code=()
    mapfile -t paths < <(git ls-files --cached --others --exclude-standard)
    for path in "${paths[@]}"; do
        if [ ! -f "$path" ]; then continue; fi
        case $path in
            scripts/lib/words/* | CHANGELOG.md | *.snap) ;;
            *.rs | *.sql) prose+=("$path") code+=("$path") ;;
            *.md | *.sh | *.mjs | *.py | *.toml | *.yml | .env.example | scripts/*) prose+=("$path") ;;
        esac
    done
    while IFS=$'\t' read -r pattern proposal; do
        case $pattern in '' | '#'*) continue ;; esac
        for path in "${code[@]}"; do
            case /$path in
                *"$pattern")
                    echo "$path    (instead: $proposal)"
                    status=1
                    ;;
            esac
        done
    done <"$lists/files"
    modules_are_described "${code[@]}" || status=1
    words_report "$lists/phrases" '(?i)' '' "${prose[@]}" || status=1
    words_report "$lists/openings" '(^|//[/!]?|--|#|[.;:]|^\s*[-*]) ' '' "${prose[@]}" || status=1
    words_report "$lists/names" '\b(struct|enum|trait|type|mod|fn|const|static|TABLE|pub) ' '\b' \
        "${code[@]}" || status=1
    return "$status"
}
