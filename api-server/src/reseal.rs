//! Key rotation: reseals values of a previous key with the current key.
//!
//! The api-server runs it because it has all keys and may write the sealed columns. Several
//! instances may run it at the same time: each skips values that another has resealed. While a
//! previous key is configured, a pass runs every ten minutes, because a process with the previous
//! settings may have written values during a rolling restart.

use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use shared::crypto::Keyring;
use shared::db::Db;
use shared::db::sealed::{self, SealedKind};
use shared::telemetry::names;

use crate::state::AppState;

/// The time between two passes.
const INTERVAL: Duration = Duration::from_mins(10);

/// Reseals all values now, and periodically while a previous key is configured.
pub(crate) async fn run(state: Arc<AppState>) {
    loop {
        let kinds = [
            (SealedKind::Tokens, Some(&*state.keyring)),
            (SealedKind::WebhookKeys, state.webhook_keyring.as_ref()),
        ];
        let mut is_done = true;
        for (kind, keyring) in kinds {
            if let Some(keyring) = keyring {
                is_done &= reseal_kind(&state.db, kind, keyring).await && !keyring.has_previous();
            }
        }
        if is_done {
            return std::future::pending().await;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Reseals the values of one kind; returns whether the pass succeeded.
async fn reseal_kind(db: &Db, kind: SealedKind, keyring: &Keyring) -> bool {
    let found = match sealed::reseal(db, kind, keyring).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                sealed.kind = kind.as_str(),
                "failed to reseal values with the current key"
            );
            return false;
        }
    };
    if found.previous > 0 {
        tracing::info!(
            sealed.kind = kind.as_str(),
            sealed.count = found.previous,
            "values resealed with the current key"
        );
    }
    for (key, count) in [("previous", found.previous), ("unknown", found.unknown)] {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        gauge!(names::SEALED_VALUES, "kind" => kind.as_str(), "key" => key).set(f64::from(count));
    }
    true
}
