//! Lists that are read by offset: projects, boards, versions and sprints.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::connectors::ConnectorError;
use crate::connectors::jira::client::{ApiError, Call, Client, Response};

/// Requests a page of a list: at most `limit` rows from the offset `start`.
pub(super) async fn request_page(
    client: &Client,
    call: &Call<'_>,
    path: &[&str],
    (start, limit): (usize, u32),
    parameter: Option<(&str, &str)>,
) -> Result<Response, ApiError> {
    let (start, limit) = (start.to_string(), limit.to_string());
    let mut query = vec![("startAt", start.as_str()), ("maxResults", limit.as_str())];
    query.extend(parameter);
    client.get(call, path, &query).await
}

/// Rows of a page.
#[derive(Deserialize)]
pub(super) struct ListPage {
    values: Vec<Box<RawValue>>,
    #[serde(default, rename = "isLast")]
    is_last: bool,
}

impl ListPage {
    /// Parses a response, and records the cost of its call.
    pub(super) async fn read(
        client: &Client,
        call: &Call<'_>,
        response: &Response,
    ) -> Result<Self, ConnectorError> {
        let page: Self = response.json()?;
        client.record_cost(call, page.values.len()).await;
        Ok(page)
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &RawValue> {
        self.values.iter().map(AsRef::as_ref)
    }

    /// The offset of the page after this one, which begins at `start`; `None` after the last one.
    pub(super) fn next_start(&self, start: usize) -> Option<usize> {
        let has_more = !self.is_last && !self.values.is_empty();
        has_more.then(|| start.saturating_add(self.values.len()))
    }
}
