# shellcheck shell=bash
# Prerequisites of a test run. Needs say.sh, postgres.sh and run_folder.sh. Source this file, then:
#   raise_file_limit     allows the open files that the tests need
#   check_fixtures       reports whether there are recorded payloads
#   processors           prints the number of processors
#   has_doc_examples     whether a comment of the workspace has a code block, which is a test
#   test_folder_create   creates RUN_FOLDER, after removing those of killed runs
#   test_server_start    starts a throwaway server there and sets POBLYSH_TEST_DATABASE_URL

# Some tests open thousands of sockets and hold both ends.
raise_file_limit() {
    local files
    files=$(ulimit -Sn)
    if [ "$files" != unlimited ] && [ "$files" -lt 20000 ]; then
        ulimit -Sn 20000 2>/dev/null || ulimit -Sn "$(ulimit -Hn)"
    fi
}

processors() {
    nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1
}

has_doc_examples() {
    grep -rqE '^[[:space:]]*//[/!] ```' --include='*.rs' --exclude-dir=target \
        api-server migrations poblysh shared sync-worker tests webhook-ingress
}

check_fixtures() {
    if [ -z "${POBLYSH_FIXTURES:-}" ]; then
        say "Recorded payloads: none (POBLYSH_FIXTURES is unset)"
        return 0
    fi
    [ -d "$POBLYSH_FIXTURES" ] || die "POBLYSH_FIXTURES is not a folder: $POBLYSH_FIXTURES"
    say "Recorded payloads: $POBLYSH_FIXTURES"
}

test_folder_create() {
    local left
    for left in "${TMPDIR:-/tmp}"/poblysh-test.*; do
        [ -f "$left/owner" ] || continue
        if kill -0 "$(cat "$left/owner")" 2>/dev/null; then continue; fi
        PG_HOME=$left/postgres
        if [ -f "$PG_HOME.elsewhere" ]; then PG_HOME=$(cat "$PG_HOME.elsewhere"); fi
        pg_close || continue
        rm -rf "$PG_HOME" "$left"
    done
    PG_HOME=""
    run_folder_create test
    echo $$ >"$RUN_FOLDER/owner"
}

test_server_start() {
    pg_open "$RUN_FOLDER/postgres" throwaway
    say "Throwaway PostgreSQL $(cat "$PG_HOME/data/PG_VERSION") on port $PG_PORT"
    POBLYSH_TEST_DATABASE_URL=$(pg_url postgres)
    export POBLYSH_TEST_DATABASE_URL
}
