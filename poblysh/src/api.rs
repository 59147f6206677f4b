//! Client of the HTTP API.

mod error;

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, header, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use shared::config::is_loopback;
use url::Url;
use uuid::Uuid;

pub(crate) use error::ApiError;

use crate::options::Options;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than the interval of a stream's keep-alive comments, and than any request takes.
const READ_TIMEOUT: Duration = Duration::from_secs(45);
/// The most rows of a page.
const MAX_PAGE: usize = 200;
/// The most attempts of a read that the API delays.
const MAX_ATTEMPTS: u32 = 4;
/// The longest delay that is waited for.
const MAX_DELAY: Duration = Duration::from_mins(1);

/// A client with a token, and a tenant if one is named.
#[derive(Clone)]
pub(crate) struct Api {
    client: Client,
    url: Url,
    token: SecretString,
    tenant: Option<Uuid>,
}

/// Rows of a list, and the position of the next ones.
#[derive(Debug, Default)]
pub(crate) struct List {
    pub(crate) rows: Vec<Value>,
    pub(crate) next_cursor: Option<String>,
}

impl Api {
    /// A client with these options.
    ///
    /// # Errors
    ///
    /// Without a token, or if the token would be sent unencrypted over a network.
    pub(crate) fn new(options: &Options) -> Result<Self, ApiError> {
        let token = options.token.clone().ok_or(ApiError::NoToken)?;
        let url = options.url.clone();
        let is_encrypted = url.scheme() == "https" || is_loopback(&url);
        if !is_encrypted || url.cannot_be_a_base() {
            return Err(ApiError::Insecure(url));
        }
        let client = Client::builder()
            .user_agent(concat!("poblysh/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            // A redirect would send the token to another place.
            .redirect(redirect::Policy::none());
        Ok(Self {
            client: client.build().map_err(ApiError::Client)?,
            url,
            token,
            tenant: options.tenant,
        })
    }

    /// The named tenant.
    pub(crate) const fn tenant(&self) -> Option<Uuid> {
        self.tenant
    }

    /// The same client in a tenant.
    pub(crate) fn in_tenant(&self, tenant: Uuid) -> Self {
        Self {
            tenant: Some(tenant),
            ..self.clone()
        }
    }

    /// Fetches an object.
    pub(crate) async fn get(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Value, ApiError> {
        let mut attempt = 1;
        loop {
            let result = self
                .send(self.request(Method::GET, path).query(query))
                .await;
            match result.as_ref().err().and_then(ApiError::delay) {
                Some(delay) if attempt < MAX_ATTEMPTS && delay <= MAX_DELAY => {
                    tokio::time::sleep(delay).await;
                    attempt += 1;
                }
                _ => return body(result?).await,
            }
        }
    }

    /// Posts a body, or nothing.
    pub(crate) async fn post(
        &self,
        path: &[&str],
        json: Option<&Value>,
    ) -> Result<Value, ApiError> {
        let request = self.request(Method::POST, path);
        let request = match json {
            Some(json) => request.json(json),
            None => request,
        };
        body(self.send(request).await?).await
    }

    /// Changes an object.
    pub(crate) async fn patch(&self, path: &[&str], json: &Value) -> Result<Value, ApiError> {
        let request = self.request(Method::PATCH, path).json(json);
        body(self.send(request).await?).await
    }

    /// Deletes an object.
    pub(crate) async fn delete(&self, path: &[&str]) -> Result<(), ApiError> {
        self.send(self.request(Method::DELETE, path))
            .await
            .map(drop)
    }

    /// Opens a stream of server-sent events.
    pub(crate) async fn stream(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        last_event: Option<&str>,
    ) -> Result<Response, ApiError> {
        let mut request = self.request(Method::GET, path).query(query);
        if let Some(id) = last_event {
            request = request.header("last-event-id", id);
        }
        self.send(request.header(header::ACCEPT, "text/event-stream"))
            .await
    }

    /// Fetches up to `limit` rows of a list, page by page; all of them without a limit.
    pub(crate) async fn list(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        name: &str,
        limit: Option<usize>,
    ) -> Result<List, ApiError> {
        let mut list = List::default();
        loop {
            let left = limit.map_or(MAX_PAGE, |limit| limit - list.rows.len());
            let mut query = query.to_vec();
            query.push(("limit", left.min(MAX_PAGE).to_string()));
            query.extend(list.next_cursor.take().map(|cursor| ("cursor", cursor)));
            let mut page = self.get(path, &query).await?;
            if let Some(Value::Array(rows)) = page.get_mut(name).map(Value::take) {
                list.rows.extend(rows);
            }
            list.next_cursor = page["next_cursor"].as_str().map(str::to_owned);
            let is_full = limit.is_some_and(|limit| list.rows.len() >= limit);
            if is_full || list.next_cursor.is_none() {
                return Ok(list);
            }
        }
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let request = self
            .client
            .request(method, url)
            .bearer_auth(self.token.expose_secret());
        match self.tenant {
            Some(tenant) => request.header("x-tenant-id", tenant.to_string()),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ApiError> {
        let unreachable = |error: reqwest::Error| ApiError::Unreachable {
            url: self.url.clone(),
            source: error.without_url(),
        };
        let response = request.send().await.map_err(unreachable)?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(ApiError::of_response(response).await)
    }
}

/// The body of a response; null if it has none.
async fn body(response: Response) -> Result<Value, ApiError> {
    let status = response.status();
    if status == StatusCode::NO_CONTENT {
        return Ok(Value::Null);
    }
    let bytes = response.bytes().await;
    let bytes = bytes.map_err(|error| ApiError::Body(error.without_url()))?;
    serde_json::from_slice(&bytes).map_err(|_| ApiError::NotJson(status))
}
