//! SeaORM's entities agree with the migrated schema.

use std::collections::BTreeSet;

use tests::harness::TestDb;

/// The columns of all entities. A unit test of `shared` keeps this file as the entities are.
const ENTITIES: &str = include_str!(
    "../../../shared/src/db/entities/snapshots/shared__db__entities__tests__entities.snap"
);

/// The columns of tables, in the form of the snapshot, and whether an insert must set them.
const COLUMNS: &str = "SELECT concat_ws(' ', c.relname || '.' || a.attname, \
        format_type(a.atttypid, NULL), CASE WHEN a.attnotnull THEN 'not null' END, \
        CASE WHEN a.attnum = ANY (i.indkey) THEN 'primary key' END), \
        a.attnotnull AND NOT a.atthasdef \
    FROM pg_class c \
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
    LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary \
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') \
        AND c.relname = ANY ($1)";

#[tokio::test]
async fn entities_agree_with_migrated_schema() {
    let entities: BTreeSet<&str> = ENTITIES
        .lines()
        .filter(|line| line.contains('.') && !line.contains(':'))
        .collect();
    let tables: BTreeSet<&str> = entities
        .iter()
        .filter_map(|column| column.split('.').next())
        .collect();
    assert!(
        tables.len() > 10,
        "the snapshot has the entities: {tables:?}"
    );
    let test = TestDb::create().await;
    let columns: Vec<(String, bool)> = sqlx::query_as(COLUMNS)
        .bind(Vec::from_iter(&tables))
        .fetch_all(test.pool())
        .await
        .expect("the catalog");
    let stored: BTreeSet<&str> = columns.iter().map(|(column, _)| column.as_str()).collect();
    let unknown: Vec<_> = entities.difference(&stored).collect();
    assert!(unknown.is_empty(), "not in the schema: {unknown:?}");
    let missing: Vec<_> = columns
        .iter()
        .filter(|(column, is_required)| *is_required && !entities.contains(column.as_str()))
        .collect();
    assert!(missing.is_empty(), "not in the entities: {missing:?}");
}
