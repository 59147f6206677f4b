# shellcheck shell=bash
# Refuses phrases and names that the project has given up; docs/glossary.md has the words in use.
# The lists are in scripts/lib/words: a pattern, a tab, and a proposal on each line.

# Prints "FILE:LINE: found, write proposal" for each match of a list.
#   words_report LIST PREFIX SUFFIX FILE…
words_report() {
    local list=$1 prefix=$2 suffix=$3 pattern proposal status=0
    shift 3
    while IFS=$'\t' read -r pattern proposal; do
        case $pattern in '' | '#'*) continue ;; esac
        if grep -HnoP -- "$prefix$pattern$suffix" "$@" /dev/null |
            sed "s|\$|    (instead: $proposal)|"; then :; fi
        if grep -qP -- "$prefix$pattern$suffix" "$@" /dev/null; then status=1; fi
    done <"$list"
    return "$status"
}

words_are_plain() {
    local lists=scripts/lib/words status=0 path pattern proposal
    local -a rust=() prose=() code=()
    while IFS= read -r path; do
        case $path in
            scripts/lib/words/* | CHANGELOG.md | *.snap) continue ;;
            *.rs) rust+=("$path") prose+=("$path") code+=("$path") ;;
            *.sql) prose+=("$path") code+=("$path") ;;
            *.md) prose+=("$path") ;;
            *.sh | scripts/*) if [ -f "$path" ]; then prose+=("$path"); fi ;;
        esac
        while IFS=$'\t' read -r pattern proposal; do
            case $pattern in '' | '#'*) continue ;; esac
            case /$path in
                *"$pattern")
                    echo "$path    (instead: $proposal)"
                    status=1
                    ;;
            esac
        done <"$lists/files"
    done < <(git ls-files --cached --others --exclude-standard)
    words_report "$lists/phrases" '(?i)' '' "${prose[@]}" || status=1
    words_report "$lists/openings" '(^|//[/!]?|--|#|[.;:]|^\s*[-*]) ' '' "${prose[@]}" || status=1
    words_report "$lists/names" '\b(struct|enum|trait|type|mod|fn|const|static|TABLE|pub) ' '\b' \
        "${code[@]}" || status=1
    return "$status"
}
