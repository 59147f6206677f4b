//! SeaORM's entities, one file per table, private to `db`.
//!
//! A field's type decides how the column is bound and read, so the entities are compared with the
//! migrated schema: the unit test below writes them down as a snapshot, and
//! `tests/tests/storage/entities.rs` reads it next to the catalog of Postgres.
//!
//! Entities have no relations. The select of connections adds its joins; other joins are SQL.

/// Completes an entity.
macro_rules! shared_entity {
    () => {
        #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
        pub(in crate::db) enum Relation {}

        impl ActiveModelBehavior for ActiveModel {}
    };
}

/// Completes an entity whose rows belong to the tenant in the column `$tenant`.
macro_rules! tenant_entity {
    ($tenant:ident) => {
        shared_entity!();

        impl crate::db::orm::Scoped for Entity {
            const TENANT: Column = Column::$tenant;
        }
    };
}

pub(super) mod api_keys;
pub(super) mod audit_log;
pub(super) mod connect_links;
pub(super) mod connection_routes;
pub(super) mod connections;
pub(super) mod cursors;
pub(super) mod deliveries;
pub(super) mod delivery_routes;
pub(super) mod events;
pub(super) mod idempotency_keys;
pub(super) mod job_history;
pub(super) mod jobs;
pub(super) mod oauth_states;
pub(super) mod operators;
pub(super) mod subscriptions;
pub(super) mod tenants;
pub(super) mod unmatched_accounts;

#[cfg(test)]
mod tests {
    use sea_orm::sea_query::ColumnType;
    use sea_orm::{ColumnTrait, EntityTrait, IdenStatic, Iterable, PrimaryKeyToColumn};

    use super::*;

    /// Describes the columns of an entity, one a line, in the terms of Postgres's catalog.
    fn describe<E: EntityTrait>(entity: E) -> Vec<String> {
        E::Column::iter()
            .map(|column| {
                let definition = column.def();
                let null = if definition.is_null() {
                    ""
                } else {
                    " not null"
                };
                let key = E::PrimaryKey::from_column(column).map_or("", |_| " primary key");
                format!(
                    "{}.{} {}{null}{key}",
                    entity.table_name(),
                    column.as_str(),
                    type_name(definition.get_column_type())
                )
            })
            .collect()
    }

    fn type_name(column_type: &ColumnType) -> String {
        match column_type {
            ColumnType::String(_) | ColumnType::Text => "text".to_owned(),
            ColumnType::Binary(_) | ColumnType::VarBinary(_) | ColumnType::Blob => {
                "bytea".to_owned()
            }
            ColumnType::Boolean => "boolean".to_owned(),
            ColumnType::SmallInteger => "smallint".to_owned(),
            ColumnType::Integer => "integer".to_owned(),
            ColumnType::BigInteger => "bigint".to_owned(),
            ColumnType::Float => "real".to_owned(),
            ColumnType::Json => "json".to_owned(),
            ColumnType::Interval(..) => "interval".to_owned(),
            ColumnType::TimestampWithTimeZone => "timestamp with time zone".to_owned(),
            ColumnType::Uuid => "uuid".to_owned(),
            ColumnType::Enum { name, .. } | ColumnType::Custom(name) => name.to_string(),
            ColumnType::Array(item) => format!("{}[]", type_name(item)),
            other => panic!("no entity has used {other:?} before"),
        }
    }

    #[test]
    fn entities_are_described() {
        let columns = [
            describe(api_keys::Entity),
            describe(audit_log::Entity),
            describe(connect_links::Entity),
            describe(connection_routes::Entity),
            describe(connections::Entity),
            describe(cursors::Entity),
            describe(deliveries::Entity),
            describe(delivery_routes::Entity),
            describe(events::Entity),
            describe(idempotency_keys::Entity),
            describe(job_history::Entity),
            describe(jobs::Entity),
            describe(oauth_states::Entity),
            describe(operators::Entity),
            describe(subscriptions::Entity),
            describe(tenants::Entity),
            describe(unmatched_accounts::Entity),
        ];
        insta::assert_snapshot!("entities", columns.concat().join("\n"));
    }
}
