//! The state that all handlers share.

use std::sync::Arc;

use secrecy::SecretString;
use shared::connectors::Registry;
use shared::credentials::Credentials;
use shared::crypto::Keyring;
use shared::db::Db;
use shared::queue::{JobQueue, Notifier};
use shared::service::Lifecycle;
use shared::signals::Feed;
use tracing::Instrument;
use url::Url;

use crate::config::ReturnTo;
use crate::error::ApiError;
use crate::feed_watcher::FeedWatcher;
use crate::limits::Limits;
use crate::pages::Pages;

/// The state that all handlers share.
pub(crate) struct AppState {
    pub(crate) db: Db,
    pub(crate) feed: Feed,
    pub(crate) keyring: Arc<Keyring>,
    /// Seals the webhook secrets of connections, which the ingress decrypts.
    pub(crate) webhook_keyring: Option<Keyring>,
    pub(crate) registry: Registry,
    pub(crate) credentials: Credentials,
    pub(crate) queue: Arc<dyn JobQueue>,
    pub(crate) notifier: Notifier,
    pub(crate) feed_watcher: FeedWatcher,
    pub(crate) limits: Limits,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) public_url: Url,
    pub(crate) public_webhook_url: Url,
    pub(crate) operator_tokens: Vec<SecretString>,
    pub(crate) return_to: ReturnTo,
    pub(crate) pages: Arc<Pages>,
    pub(crate) poll_interval_seconds: i32,
    /// Whether the console is served.
    pub(crate) has_console: bool,
    /// Days until a pending connection expires.
    pub(crate) approval_days: i32,
}

impl AppState {
    /// Runs a task to completion even if the client disconnects.
    ///
    /// A change at a provider must be recorded here in any case.
    pub(crate) async fn run_to_completion<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ApiError>> + Send + 'static,
    {
        let task = self
            .lifecycle
            .spawn(work.instrument(tracing::Span::current()));
        task.await.unwrap_or(Err(ApiError::Panicked))
    }
}

/// Appends segments to the path of `base`.
pub(crate) fn append_path(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_appended_to_the_path() {
        for base in ["https://example.com/api", "https://example.com/api/"] {
            let url = append_path(&Url::parse(base).expect("a URL"), &["v1", "a/b"]);
            assert_eq!(url.as_str(), "https://example.com/api/v1/a%2Fb");
        }
        let url = append_path(
            &Url::parse("http://127.0.0.1:8080").expect("a URL"),
            &["v1"],
        );
        assert_eq!(url.as_str(), "http://127.0.0.1:8080/v1");
    }
}
