//! Ends rotations of keys: what a previous key has sealed is moved to the current one.
//!
//! The api-server does it because it holds both keys and may write what they seal. Any number of
//! them may: a value that another has moved is left alone. While a previous key is configured, a
//! pass follows every ten minutes, so that nothing stays that a process with the former settings has
//! written during a restart.

use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use shared::crypto::Keyring;
use shared::db::Db;
use shared::db::sealed::{self, SealedKind};
use shared::telemetry::names;

use crate::state::AppState;

/// Between two passes.
const INTERVAL: Duration = Duration::from_mins(10);

/// Makes a pass over all sealed values now, and again and again while a previous key is configured.
pub(crate) async fn run(state: Arc<AppState>) {
    loop {
        let kinds = [
            (SealedKind::Tokens, Some(&*state.keyring)),
            (SealedKind::WebhookKeys, state.webhook_keyring.as_ref()),
        ];
        let mut is_done = true;
        for (kind, keyring) in kinds {
            if let Some(keyring) = keyring {
                is_done &= pass(&state.db, kind, keyring).await && !keyring.has_previous();
            }
        }
        if is_done {
            return std::future::pending().await;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Moves the values of one kind. Answers whether the pass came to its end.
async fn pass(db: &Db, kind: SealedKind, keyring: &Keyring) -> bool {
    let found = match sealed::reseal(db, kind, keyring).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                sealed.kind = kind.as_str(),
                "failed to move sealed values to the current key"
            );
            return false;
        }
    };
    if found.previous > 0 {
        tracing::info!(
            sealed.kind = kind.as_str(),
            sealed.count = found.previous,
            "sealed values moved to the current key"
        );
    }
    for (key, count) in [("previous", found.previous), ("unknown", found.unknown)] {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        gauge!(names::SEALED_VALUES, "kind" => kind.as_str(), "key" => key).set(f64::from(count));
    }
    true
}
