//! HTTP server of the example provider.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::extract::{Form, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use shared::crypto::hmac_sha256;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

use super::webhook;
use super::world::{Channel, PERSON, STREAMS, World};

/// Pause before a push that was not accepted is sent again.
const RESEND_INTERVAL: Duration = Duration::from_millis(100);

/// Delay of a page of an endless stream.
const PAGE_DELAY: Duration = Duration::from_millis(100);

/// The secret that the provider creates for the pushes of the mail.
const HOOK_SECRET: &str = "a secret that the provider has created";

/// Running provider.
#[derive(Debug)]
pub(super) struct Provider {
    shared: Shared,
    base: Url,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone)]
struct Shared {
    world: Arc<Mutex<World>>,
    client: reqwest::Client,
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("unpoisoned")
    }

    /// Sends a push and returns the response's status.
    ///
    /// It is sent again while the service is unavailable, as providers do.
    async fn push(&self, url: &str, headers: &[(&'static str, String)]) -> u16 {
        loop {
            let mut request = self.client.post(url);
            for (name, value) in headers {
                request = request.header(*name, value);
            }
            let response = request.send().await.expect("an ingress response");
            if response.status() != StatusCode::SERVICE_UNAVAILABLE {
                return response.status().as_u16();
            }
            tokio::time::sleep(RESEND_INTERVAL).await;
        }
    }

    /// Sends a push of a channel to the app's URL.
    async fn push_channel(&self, channel: &Channel) -> u16 {
        let number = self.world().next_push().to_string();
        let headers = webhook::channel_headers(&channel.id, &channel.resource, &number);
        self.push(&channel.url, &headers).await
    }
}

impl Provider {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Shared {
            world: Arc::default(),
            client: reqwest::Client::builder()
                .timeout(Duration::from_secs(10))
                .build()
                .expect("a client"),
        };
        let router = Router::new()
            .route("/{product}/authorize", get(authorize))
            .route("/{product}/token", post(issue_tokens))
            .route("/{product}/revoke", post(revoke))
            .route("/{product}/streams", get(list_streams))
            .route("/{product}/streams/{stream}", get(list_facts))
            .route("/{product}/channels", post(create_channel))
            .route("/{product}/channels/stop", post(stop_channel))
            .with_state(shared.clone());
        Self {
            shared,
            base: Url::parse(&format!("http://{address}/")).expect("a URL"),
            task: tokio::spawn(async move {
                axum::serve(listener, router).await.expect("served");
            }),
        }
    }

    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world()
    }

    /// Sends a push for a stream to all channels of it.
    pub(super) async fn wake_up(&self, stream: &str) -> Vec<u16> {
        let channels: Vec<Channel> = self.world().channels.values().cloned().collect();
        let mut statuses = Vec::new();
        for channel in channels.iter().filter(|channel| channel.resource == stream) {
            statuses.push(self.shared.push_channel(channel).await);
        }
        statuses
    }

    /// Sends the secret of later pushes to a connection's URL.
    pub(super) async fn hand_over_secret(&self, url: &str) -> u16 {
        let secret = (webhook::HOOK_SECRET_HEADER, HOOK_SECRET.to_owned());
        self.shared.push(url, &[secret]).await
    }

    /// Sends a push for a stream to a connection's URL, signed with this secret.
    async fn wake_up_signed(&self, url: &str, stream: &str, secret: &str) -> u16 {
        let number = self.world().next_push().to_string();
        let message = webhook::connection_message(stream, &number);
        let signature = hex::encode(hmac_sha256(secret.as_bytes(), message.as_bytes()));
        let headers = [
            (webhook::RESOURCE_HEADER, stream.to_owned()),
            (webhook::NUMBER_HEADER, number),
            (webhook::SIGNATURE_HEADER, signature),
        ];
        self.shared.push(url, &headers).await
    }

    /// Sends a genuine push for a stream to a connection's URL.
    pub(super) async fn wake_up_at(&self, url: &str, stream: &str) -> u16 {
        self.wake_up_signed(url, stream, HOOK_SECRET).await
    }

    /// Sends a push that another secret signs.
    pub(super) async fn forge_at(&self, url: &str, stream: &str) -> u16 {
        self.wake_up_signed(url, stream, "another secret").await
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Parameters = HashMap<String, String>;

/// The consent page: the person consents immediately.
async fn authorize(Query(query): Query<Parameters>) -> Redirect {
    let mut target = Url::parse(&query["redirect_uri"]).expect("a URL");
    target
        .query_pairs_mut()
        .append_pair("code", "a-code")
        .append_pair("state", &query["state"]);
    Redirect::to(target.as_str())
}

async fn issue_tokens(State(shared): State<Shared>, Form(form): Form<Parameters>) -> Response {
    let mut world = shared.world();
    let refresh = form.get("refresh_token");
    if let Some(token) = refresh {
        world.refreshes += 1;
        if !world.accepts(token) {
            let body = json!({ "error": "invalid_grant" });
            return (StatusCode::BAD_REQUEST, Json(body)).into_response();
        }
    }
    let mut tokens = json!({
        "access_token": world.issue("access"),
        "expires_in": world.token_ttl,
        "scope": world.granted().join(" "),
        "sub": PERSON,
    });
    if refresh.is_none() {
        tokens["refresh_token"] = json!(world.issue("refresh"));
    }
    Json(tokens).into_response()
}

async fn revoke(State(shared): State<Shared>, Form(form): Form<Parameters>) -> StatusCode {
    let mut world = shared.world();
    if world.accepts(&form["token"]) {
        world.revoke();
    }
    StatusCode::OK
}

fn is_authorized(world: &World, headers: &HeaderMap) -> bool {
    headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .is_some_and(|token| world.accepts(token))
}

async fn list_streams(
    State(shared): State<Shared>,
    Path(product): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    let mut world = shared.world();
    if !is_authorized(&world, &headers) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    world.read(&product, "root");
    Ok(Json(json!({ "streams": STREAMS })))
}

async fn list_facts(
    State(shared): State<Shared>,
    Path((product, stream)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    let (count, has_more) = {
        let mut world = shared.world();
        if !is_authorized(&world, &headers) {
            return Err(StatusCode::UNAUTHORIZED);
        }
        let count = world.read(&product, &stream);
        (count, world.endless == Some(stream.as_str()))
    };
    if has_more {
        tokio::time::sleep(PAGE_DELAY).await;
    }
    let facts: Vec<u64> = (1..=count).collect();
    Ok(Json(json!({ "facts": facts, "has_more": has_more })))
}

async fn create_channel(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let is_planned = body["id"].is_string();
    let channel = {
        let mut world = shared.world();
        if !is_authorized(&world, &headers) {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        let number = world.requested_channels.len();
        let id = if is_planned {
            text("id")
        } else {
            format!("hook-{number}")
        };
        // An id is never reused.
        if world.requested_channels.contains(&id) {
            return StatusCode::BAD_REQUEST.into_response();
        }
        let channel = Channel {
            resource: text("resource"),
            // All channels of a resource have the same.
            resource_id: format!("id of {}", text("resource")),
            url: text("url"),
            id: id.clone(),
        };
        world.requested_channels.push(id.clone());
        world.channels.insert(id, channel.clone());
        channel
    };
    if is_planned {
        let status = shared.push_channel(&channel).await;
        shared.world().early_pushes.push(status);
    }
    if std::mem::take(&mut shared.world().loses_response) {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let created = json!({
        "id": channel.id,
        "resource_id": channel.resource_id,
        "expires_in": 604_800,
    });
    Json(created).into_response()
}

/// Ends a channel, which needs the resource's id unless its creation was never confirmed.
async fn stop_channel(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> StatusCode {
    let mut world = shared.world();
    if !is_authorized(&world, &headers) {
        return StatusCode::UNAUTHORIZED;
    }
    let id = body["id"].as_str().unwrap_or_default();
    let Some(channel) = world.channels.get(id) else {
        return StatusCode::NOT_FOUND;
    };
    let resource_id = body["resource_id"].as_str();
    if resource_id.is_some_and(|claimed| claimed != channel.resource_id) {
        return StatusCode::BAD_REQUEST;
    }
    world.channels.remove(id);
    StatusCode::NO_CONTENT
}
