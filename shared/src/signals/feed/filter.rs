//! Conditions that pages and completeness share.

use sqlx::{Encode, Postgres, QueryBuilder, Type};

/// Appends a condition that `column` is one of `values`, unless the list is empty.
pub(super) fn push_any_of<T>(statement: &mut QueryBuilder<Postgres>, column: &str, values: &[T])
where
    T: Clone,
    Vec<T>: for<'q> Encode<'q, Postgres> + Type<Postgres>,
{
    if !values.is_empty() {
        statement.push(format!(" AND {column} = ANY ("));
        statement.push_bind(values.to_vec()).push(")");
    }
}
