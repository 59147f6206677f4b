//! The forms of a connection's page. Each passes through the handler of the API.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use shared::model::{ConnectionId, SyncMode, TenantId};

use super::session::{Form, Rejection, redirect};
use super::views::{ConnectLinkView, Notice};
use crate::error::ApiError;
use crate::extract::{IdPath, JsonBody, OptionalJsonBody, ProviderPath};
use crate::query::{NoQuery, Query, parse_uuid};
use crate::routes::connect::create::{NewConnectLink, create_connect_link};
use crate::routes::connections::delete::delete_connection;
use crate::routes::connections::get::get_connection;
use crate::routes::connections::sync::{SyncRequest, sync_connection};
use crate::routes::connections::update::{ConnectionChange, RequestedStatus, update_connection};
use crate::state::AppState;

/// An act of a form of a connection's page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString)]
#[strum(serialize_all = "kebab-case")]
enum Act {
    Sync,
    FullSync,
    Pause,
    Resume,
    Reconnect,
    Disconnect,
}

/// Does what the form of a connection's page asks for.
pub(super) async fn act(
    State(state): State<Arc<AppState>>,
    Path((tenant, id, act)): Path<(String, String, String)>,
    form: Form,
) -> Result<Response, Rejection> {
    let target = parse_uuid(&tenant).zip(parse_uuid(&id));
    let (tenant, id) = target.ok_or(ApiError::NotFound("connection"))?;
    let act: Act = act.parse().map_err(|_| ApiError::NoRoute)?;
    let target = Target {
        state,
        form,
        tenant: TenantId(tenant),
        id: ConnectionId(id),
    };
    let notice = match act {
        Act::Sync => target.sync(SyncMode::Incremental).await?,
        Act::FullSync => target.sync(SyncMode::Full).await?,
        Act::Pause => target.set_status(RequestedStatus::Paused).await?,
        Act::Resume => target.set_status(RequestedStatus::Active).await?,
        Act::Disconnect => target.disconnect().await?,
        Act::Reconnect => return target.reconnect().await,
    };
    let done: &str = notice.into();
    Ok(redirect(&format!("{}?done={done}", target.path())))
}

/// The connection of a form.
struct Target {
    state: Arc<AppState>,
    form: Form,
    tenant: TenantId,
    id: ConnectionId,
}

impl Target {
    fn path(&self) -> String {
        format!("/console/connections/{}/{}", self.tenant, self.id)
    }

    fn state(&self) -> State<Arc<AppState>> {
        State(Arc::clone(&self.state))
    }

    async fn sync(&self, mode: SyncMode) -> Result<Notice, ApiError> {
        let auth = self.form.session.tenant(&self.state, self.tenant).await?;
        let body = OptionalJsonBody(SyncRequest { mode: Some(mode) });
        let (id, query) = (IdPath(self.id), Query(NoQuery));
        sync_connection(self.state(), auth, id, query, HeaderMap::new(), body).await?;
        Ok(Notice::SyncRequested)
    }

    async fn set_status(&self, status: RequestedStatus) -> Result<Notice, ApiError> {
        let auth = self.form.session.tenant(&self.state, self.tenant).await?;
        let change = ConnectionChange {
            status: Some(status),
            poll_interval_seconds: None,
        };
        let (id, query) = (IdPath(self.id), Query(NoQuery));
        let Json(_updated) =
            update_connection(self.state(), auth, id, query, JsonBody(change)).await?;
        Ok(match status {
            RequestedStatus::Active => Notice::Resumed,
            RequestedStatus::Paused => Notice::Paused,
        })
    }

    async fn disconnect(&self) -> Result<Notice, ApiError> {
        if self.form.only("confirm") != Some("yes") {
            return Err(ApiError::ForgedForm);
        }
        let auth = self.form.session.tenant(&self.state, self.tenant).await?;
        delete_connection(self.state(), auth, IdPath(self.id), Query(NoQuery)).await?;
        Ok(Notice::Disconnected)
    }

    /// Creates a link that connects the account again, and shows it.
    async fn reconnect(&self) -> Result<Response, Rejection> {
        let auth = self.form.session.tenant(&self.state, self.tenant).await?;
        let found = get_connection(self.state(), auth, IdPath(self.id), Query(NoQuery)).await?;
        let provider = found.0.connection.provider;
        let auth = self.form.session.tenant(&self.state, self.tenant).await?;
        let body = OptionalJsonBody(NewConnectLink { return_to: None });
        let (_, link) = create_connect_link(
            self.state(),
            auth,
            ProviderPath(provider.clone()),
            Query(NoQuery),
            body,
        )
        .await?;
        let view = ConnectLinkView {
            provider: &provider,
            url: &link.authorize_url,
            expires_at: link.expires_at,
            back: &self.path(),
        };
        let signed_in = self.form.session.signed_in();
        Ok(self.state.pages.respond_console(signed_in, &view.page()))
    }
}
