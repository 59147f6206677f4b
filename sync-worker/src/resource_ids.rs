//! Resources that the provider has given another id, where the delivery about it was lost.
//!
//! Keys go on with the id that a resource was first known by. So before anything is stored of a
//! resource with an unknown id, it is compared with those that are known: where one looks like it
//! and the provider does not show that one any more, it is the same.

use shared::connectors::{AccountChange, Resource};
use shared::db::{DbError, resources};

use crate::access::Caller;
use crate::jobs::JobFailure;

/// Known resources that the provider is asked about for an unknown one at most.
const MAX_ALIKE: usize = 5;

/// The changes of ids by which those of these resources that are unknown are known ones.
pub(crate) async fn find_changes(
    caller: &Caller<'_>,
    shown: Vec<Resource>,
) -> Result<Vec<AccountChange>, JobFailure> {
    if shown.is_empty() {
        return Ok(Vec::new());
    }
    let (scope, connection) = (&caller.scope, caller.connection);
    let mut tx = caller.context.db.begin(scope).await?;
    let unknown = resources::unknown(&mut tx, scope, connection, shown).await?;
    let mut known = if unknown.is_empty() {
        Vec::new()
    } else {
        resources::known(&mut tx, scope, connection).await?
    };
    tx.commit().await.map_err(DbError::from)?;
    let mut changes = Vec::new();
    for resource in unknown {
        let Some(from) = find_former(caller, &resource, &known).await? else {
            continue;
        };
        tracing::warn!(
            connection.id = %caller.connection,
            resource.id = resource.id,
            resource.former_id = from,
            "resource has another id, the delivery about it was lost"
        );
        known.retain(|one| one.id != from);
        changes.push(AccountChange::ResourceIdChanged {
            from,
            to: resource.id,
        });
    }
    Ok(changes)
}

/// The id under which a resource was known that has this one now: of those that share a stable id
/// with it, the only one that the provider does not show any more.
async fn find_former(
    caller: &Caller<'_>,
    resource: &Resource,
    known: &[Resource],
) -> Result<Option<String>, JobFailure> {
    let connector = caller.connector;
    for stable_id in &resource.stable_ids {
        let is_alike =
            |one: &&Resource| one.id != resource.id && one.stable_ids.contains(stable_id);
        let alike: Vec<&str> = known
            .iter()
            .filter(is_alike)
            .map(|one| one.id.as_str())
            .collect();
        if alike.len() > MAX_ALIKE {
            continue;
        }
        let mut gone = Vec::new();
        for id in alike {
            let is_shown = caller
                .call(|access| Box::pin(async move { connector.has_resource(&access, id).await }))
                .await?;
            if !is_shown {
                gone.push(id);
            }
        }
        if let [former] = gone.as_slice() {
            return Ok(Some((*former).to_owned()));
        }
    }
    Ok(None)
}
