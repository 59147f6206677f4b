# shellcheck shell=bash
# The folder of one run, with its files and its throwaway PostgreSQL cluster. Needs say.sh and
# postgres.sh. Source this file, then:
#   run_folder_create NAME [PARENT]   creates RUN_FOLDER, which PostgreSQL's user can read
#   run_folder_remove                 stops and removes the cluster, and removes RUN_FOLDER

RUN_FOLDER=""

run_folder_create() {
    RUN_FOLDER=$(mktemp -d "${2:-${TMPDIR:-/tmp}}/poblysh-$1.XXXXXX")
    chmod 755 "$RUN_FOLDER"
}

run_folder_remove() {
    if [ -z "$RUN_FOLDER" ]; then return 0; fi
    if [ -n "$PG_HOME" ]; then
        pg_close || warn "the throwaway PostgreSQL cluster in $PG_HOME did not stop"
        rm -rf "$PG_HOME"
    fi
    rm -rf "$RUN_FOLDER"
}
