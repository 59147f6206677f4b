//! Responses of the connect flow: JSON, a page for browsers, or a redirect.

use axum::Json;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use shared::connectors::ProviderDescriptor;
use shared::db::connections::{self, ConnectionStatus};
use shared::db::{TenantScope, tenants};
use url::Url;
use utoipa::ToSchema;

use super::account_picker::AccountPicker;
use super::outcome::StepOutcome;
use crate::error::ApiError;
use crate::pages::connect::{AccountPickerView, ConnectionState, ConnectionView};
use crate::pages::{FormTarget, prefers_html};
use crate::routes::connections::{Connection, show};
use crate::state::{AppState, append_path};

/// The `status_reason` of a request whose approval expired.
const APPROVAL_EXPIRED: &str = "approval_expired";

/// The connection that a flow created.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionResponse {
    connection: Connection,
}

/// A flow whose outcome is shown.
pub(super) struct ShownFlow<'a> {
    pub(super) app: &'a AppState,
    pub(super) scope: &'a TenantScope,
    pub(super) descriptor: &'a ProviderDescriptor,
    /// The headers of the request.
    pub(super) headers: &'a HeaderMap,
    pub(super) return_to: Option<&'a Url>,
    /// The token of the connect link.
    pub(super) link_token: Option<&'a SecretString>,
}

impl ShownFlow<'_> {
    /// The response to a callback: a redirect if the flow has a `return_to`.
    ///
    /// `query` has the search and the page of a choice, and the state of the callback.
    pub(super) async fn respond(
        &self,
        outcome: StepOutcome,
        query: &[(String, String)],
    ) -> Result<Response, ApiError> {
        match (outcome, self.return_to) {
            (StepOutcome::Redirect(url), _) => Ok(redirect(&url)),
            (StepOutcome::PickAccount(picker), _) => {
                if prefers_html(self.headers) {
                    self.picker_page(&picker, query).await
                } else {
                    Ok(picker.to_json())
                }
            }
            (StepOutcome::Done(connection), Some(url)) => {
                let mut url = url.clone();
                url.query_pairs_mut()
                    .append_pair("connection_id", &connection.id.to_string())
                    .append_pair("status", status_parameter(connection.status));
                Ok(redirect(&url))
            }
            (StepOutcome::Done(connection), None) => {
                if prefers_html(self.headers) {
                    return self.connection_page(&connection).await;
                }
                let mut tx = self.app.db.begin(self.scope).await?;
                let connection = show(&mut tx, &self.app.registry, *connection).await?;
                tx.commit().await?;
                Ok(Json(ConnectionResponse { connection }).into_response())
            }
        }
    }

    async fn picker_page(
        &self,
        picker: &AccountPicker,
        query: &[(String, String)],
    ) -> Result<Response, ApiError> {
        let param = |name: &str| {
            let mut values = query.iter().filter(|(key, _)| key == name);
            values.next().map_or("", |(_, value)| value.as_str())
        };
        let team = team(self.app, self.scope).await?;
        let view = AccountPickerView {
            product: self.app.pages.product(),
            team: &team,
            provider: self.descriptor.display_name,
            accounts: &picker.accounts,
            action: picker.callback.path(),
            current_state: param("state"),
            next_state: &picker.state,
            search: param("search"),
            number: param("page").parse().unwrap_or(1),
            form: form_target(&self.app.public_url, self.return_to),
        };
        Ok(self.app.pages.respond(&view.page()))
    }

    /// The page with the state of a connection.
    pub(super) async fn connection_page(
        &self,
        connection: &connections::Connection,
    ) -> Result<Response, ApiError> {
        let team = team(self.app, self.scope).await?;
        let link = self
            .link_token
            .map(|token| link_url(self.app, self.descriptor.slug, token.expose_secret()));
        let approval = connection.approval.as_ref();
        let state = match connection.status {
            ConnectionStatus::Active => ConnectionState::Connected,
            ConnectionStatus::Pending => {
                approval.map_or(ConnectionState::RequestExpired, |approval| {
                    ConnectionState::Waiting {
                        link: link.as_ref().map(Url::as_str),
                        expires_at: approval.expires_at,
                    }
                })
            }
            ConnectionStatus::Paused => ConnectionState::Paused,
            ConnectionStatus::Suspended => ConnectionState::Suspended,
            ConnectionStatus::NeedsReauth => ConnectionState::NeedsReauth,
            ConnectionStatus::Disconnected
                if connection.status_reason.as_deref() == Some(APPROVAL_EXPIRED) =>
            {
                ConnectionState::RequestExpired
            }
            ConnectionStatus::Disconnected => ConnectionState::Disconnected,
        };
        let account = connection.account.as_ref();
        let view = ConnectionView {
            product: self.app.pages.product(),
            team: &team,
            provider: self.descriptor.display_name,
            account: account
                .map(|account| account.name.as_str())
                .or_else(|| approval.and_then(|approval| approval.account_name.as_deref())),
            state,
        };
        Ok(self.app.pages.respond(&view.page()))
    }
}

/// The name of the flow's tenant.
pub(super) async fn team(app: &AppState, scope: &TenantScope) -> Result<String, ApiError> {
    let mut tx = app.db.begin(scope).await?;
    let team = tenants::name(&mut tx, scope).await?;
    tx.commit().await?;
    team.ok_or(ApiError::InvalidState)
}

/// The URL of a connect link.
pub(super) fn link_url(app: &AppState, provider: &str, token: &str) -> Url {
    let mut link = append_path(&app.public_url, &["v1", "connect", provider, "start"]);
    link.query_pairs_mut().append_pair("state", token);
    link
}

/// The targets of redirects after a form: a provider, this server and `return_to`.
///
/// Over http only for development, or for a `return_to` on the person's machine.
pub(super) fn form_target(public_url: &Url, return_to: Option<&Url>) -> FormTarget {
    let mut targets = return_to.into_iter().chain([public_url]);
    if targets.all(|url| url.scheme() == "https") {
        FormTarget::Https
    } else {
        FormTarget::Http
    }
}

/// The parameter `status` of `return_to`.
fn status_parameter(status: ConnectionStatus) -> &'static str {
    match status {
        ConnectionStatus::Active => "connected",
        other => other.into(),
    }
}

pub(super) fn redirect(url: &Url) -> Response {
    (StatusCode::FOUND, [(LOCATION, url.as_str())]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_may_end_at_return_to() {
        let url = |text: &str| Url::parse(text).expect("a URL");
        let (public, local) = (
            url("https://connect.example.com"),
            url("http://127.0.0.1:8080"),
        );
        for (public, return_to, expected) in [
            (&public, None, FormTarget::Https),
            (
                &public,
                Some(url("https://app.example.com/")),
                FormTarget::Https,
            ),
            (
                &public,
                Some(url("http://127.0.0.1:3000/")),
                FormTarget::Http,
            ),
            (&local, None, FormTarget::Http),
        ] {
            assert_eq!(form_target(public, return_to.as_ref()), expected);
        }
    }
}
