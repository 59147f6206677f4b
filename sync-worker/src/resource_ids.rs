//! Detection of resources whose id the provider changed in a delivery that was lost.
//!
//! Dedupe keys keep the id under which a resource was first seen. So before facts of a resource
//! with an unknown id are stored, it is compared with the known resources. A known resource that
//! shares a stable id with it, and that the provider no longer lists, is the same one.

use shared::connectors::AccountChange;
use shared::db::{DbError, resources};
use shared::model::Resource;

use crate::failure::JobFailure;
use crate::provider_session::ProviderSession;

/// Maximum number of known resources to check with the provider per unknown one.
const MAX_CANDIDATES: usize = 5;

/// Finds the id changes that map unknown resources among `shown` to known ones.
pub(crate) async fn find_changes(
    session: &ProviderSession<'_>,
    shown: Vec<Resource>,
) -> Result<Vec<AccountChange>, JobFailure> {
    if shown.is_empty() {
        return Ok(Vec::new());
    }
    let (scope, connection) = (&session.scope, session.connection);
    let mut tx = session.context.db.begin(scope).await?;
    let unknown = resources::filter_unknown(&mut tx, scope, connection, shown).await?;
    let mut known = if unknown.is_empty() {
        Vec::new()
    } else {
        resources::list_known(&mut tx, scope, connection).await?
    };
    tx.commit().await.map_err(DbError::from)?;
    let mut changes = Vec::new();
    for resource in unknown {
        let Some(from) = find_previous_id(session, &resource, &known).await? else {
            continue;
        };
        tracing::warn!(
            connection.id = %session.connection,
            resource.id = resource.id,
            resource.previous_id = from,
            "resource id changed without a delivery"
        );
        known.retain(|one| one.id != from);
        changes.push(AccountChange::ResourceIdChanged {
            from,
            to: resource.id,
        });
    }
    Ok(changes)
}

/// Finds the previous id of a resource.
///
/// It belongs to the only known resource that shares a stable id with this one and that the
/// provider no longer shows.
async fn find_previous_id(
    session: &ProviderSession<'_>,
    resource: &Resource,
    known: &[Resource],
) -> Result<Option<String>, JobFailure> {
    let connector = session.connector;
    for stable_id in &resource.stable_ids {
        let shares_id =
            |one: &&Resource| one.id != resource.id && one.stable_ids.contains(stable_id);
        let candidates: Vec<&str> = known
            .iter()
            .filter(shares_id)
            .map(|one| one.id.as_str())
            .collect();
        if candidates.len() > MAX_CANDIDATES {
            continue;
        }
        let mut gone = Vec::new();
        for id in candidates {
            let is_shown = session
                .call(|access| Box::pin(async move { connector.has_resource(&access, id).await }))
                .await?;
            if !is_shown {
                gone.push(id);
            }
        }
        if let [previous] = gone.as_slice() {
            return Ok(Some((*previous).to_owned()));
        }
    }
    Ok(None)
}
