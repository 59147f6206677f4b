//! The connect flow: installation of the app, then OAuth to verify the installer.
//!
//! The first step is the install page, which returns `installation_id` and `setup_action`. The
//! second step is OAuth, which returns `code`. An app that requests OAuth during installation
//! returns a code with the installation; this code is not bound to a verifier, so it is discarded
//! and the second step follows.
//!
//! Access is not administration: every member of an organization sees its installation. The person
//! must be an admin of the organization
//! (<https://docs.github.com/rest/orgs/members#get-an-organization-membership-for-the-authenticated-user>)
//! or the owner of the personal account.

use http::{Method, StatusCode};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

use super::oauth;
use crate::connectors::github::GitHub;
use crate::connectors::github::client::{Call, PER_PAGE, permanent_error};
use crate::connectors::github::page_size::Pages;
use crate::connectors::github::wire::{
    Identified, Installation, InstallationList, OrganizationMembership, User, is_decimal_id, read,
};
use crate::connectors::rows::UnreadableRows;
use crate::connectors::{
    AuthorizeRequest, Callback, CallbackOutcome, ConnectorError, NewGrant, with_new_token,
};

/// Maximum number of pages of a user's installations, which are ten thousand installations.
const MAX_PAGES: usize = 100;

/// Context of the second step. Untrusted: the second step verifies it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "setup")]
enum StepContext {
    /// The app was installed.
    Installed {
        /// Id from the redirect.
        installation_id: String,
    },
    /// The installation was requested; an owner of the organization must approve it.
    Requested,
    /// The redirect named no installation.
    Unnamed,
}

/// Builds the URL of the next step.
pub(in super::super) fn authorize(github: &GitHub, request: &AuthorizeRequest) -> Url {
    if request.context.is_none() {
        let segment = github.client.apps_segment();
        let mut url = github
            .client
            .web(&[segment, &github.app.slug, "installations", "new"]);
        url.query_pairs_mut().append_pair("state", &request.state);
        return url;
    }
    oauth::authorize(github, request)
}

/// Handles a redirect.
pub(in super::super) async fn exchange_token(
    github: &GitHub,
    callback: &Callback,
) -> Result<CallbackOutcome, ConnectorError> {
    if let Some(error) = callback.param("error") {
        return authorization_error(error);
    }
    let claim = match claim(callback) {
        Ok(Some(claim)) => claim,
        Ok(None) => {
            return Ok(CallbackOutcome::denied(
                "GitHub's redirect has neither an installation nor a code. Start again.",
            ));
        }
        Err(reason) => return Ok(CallbackOutcome::denied(reason)),
    };
    let Some(code) = requested_code(callback) else {
        return next_step(&claim);
    };
    let token = match oauth::exchange(github, callback, code).await {
        Ok(token) => token,
        Err(end) => return end,
    };
    let outcome = with_new_token(|| Box::pin(verify_claim(github, &token, claim.clone()))).await;
    oauth::revoke_token(github, &token).await;
    outcome
}

/// Returns the code that the second step requested.
///
/// A code that arrives with an installation, or before the second step, is not bound to the
/// verifier.
fn requested_code(callback: &Callback) -> Option<&str> {
    let with_installation =
        callback.param("installation_id").is_some() || callback.param("setup_action").is_some();
    if callback.context.is_none() || with_installation {
        return None;
    }
    code(callback)
}

fn code(callback: &Callback) -> Option<&str> {
    callback.param("code").filter(|code| !code.is_empty())
}

/// Maps the error code of a redirect, which may belong to either step.
///
/// The query is untrusted, so unknown codes are not repeated.
fn authorization_error(error: &str) -> Result<CallbackOutcome, ConnectorError> {
    match error {
        "redirect_uri_mismatch" | "application_suspended" | "incorrect_client_credentials" => {
            Err(permanent_error(format!("GitHub rejected the app: {error}")))
        }
        "access_denied" => Ok(CallbackOutcome::denied(
            "The authorization was declined at GitHub.",
        )),
        _ => Ok(CallbackOutcome::denied(
            "GitHub did not authorize the connection.",
        )),
    }
}

/// Returns the claim of the redirect or, if it has none, of the previous step.
fn claim(callback: &Callback) -> Result<Option<StepContext>, &'static str> {
    if callback.param("setup_action") == Some("request") {
        return Ok(Some(StepContext::Requested));
    }
    if let Some(id) = callback.param("installation_id") {
        if !is_decimal_id(id) {
            return Err("GitHub's redirect has an invalid installation id. Start again.");
        }
        return Ok(Some(StepContext::Installed {
            installation_id: id.to_owned(),
        }));
    }
    match callback.context.clone() {
        Some(context) => serde_json::from_value(context)
            .map(Some)
            .map_err(|_| "The service was updated in the meantime. Start again."),
        None => Ok(code(callback).map(|_| StepContext::Unnamed)),
    }
}

fn next_step(claim: &StepContext) -> Result<CallbackOutcome, ConnectorError> {
    let context =
        serde_json::to_value(claim).map_err(|error| ConnectorError::Permanent(error.into()))?;
    Ok(CallbackOutcome::NextStep { context })
}

/// Verifies a claim with the user's token.
async fn verify_claim(
    github: &GitHub,
    token: &SecretString,
    claim: StepContext,
) -> Result<CallbackOutcome, ConnectorError> {
    let id = match claim {
        StepContext::Requested => {
            return Ok(CallbackOutcome::AwaitingApproval {
                requester: user_id(github, token).await?.to_string(),
                account: None,
            });
        }
        StepContext::Installed { installation_id } => {
            let installations = list_user_installations(github, token).await?;
            if !installations.contains(&installation_id) {
                return Ok(CallbackOutcome::denied(
                    "You have no access to this installation.",
                ));
            }
            installation_id
        }
        StepContext::Unnamed => {
            let mut installations = list_user_installations(github, token).await?;
            match (installations.pop(), installations.is_empty()) {
                (Some(only), true) => only,
                (None, _) => {
                    return Ok(CallbackOutcome::denied(
                        "The app is not installed on any of your accounts.",
                    ));
                }
                (Some(_), false) => {
                    return Ok(CallbackOutcome::denied(
                        "The app is installed on several of your accounts; \
                         start again and choose one on the install page.",
                    ));
                }
            }
        }
    };
    grant(github, token, &id).await
}

/// Fetches the user's numeric id.
async fn user_id(github: &GitHub, token: &SecretString) -> Result<u64, ConnectorError> {
    let call = Call::new(oauth::ACCOUNT, "get_user", token);
    let response = github
        .client
        .get(github.client.api(&["user"]), call)
        .await?;
    let user: User = response.json()?;
    user.id
        .ok_or_else(|| permanent_error("GitHub's response has no user id"))
}

/// Returns whether the user administers the account; an unreadable membership counts as no.
async fn is_administrator(
    github: &GitHub,
    token: &SecretString,
    user: u64,
    account: &User,
) -> Result<bool, ConnectorError> {
    match account.kind.as_deref() {
        Some("User") => Ok(account.id == Some(user)),
        Some("Organization") => {
            let Some(login) = &account.login else {
                return Ok(false);
            };
            let url = github.client.api(&["user", "memberships", "orgs", login]);
            let call = Call::new(oauth::ACCOUNT, "get_organization_membership", token);
            match github.client.get(url, call).await {
                Ok(response) => {
                    let membership: OrganizationMembership = response.json()?;
                    Ok(membership.is_admin_of(account))
                }
                Err(error)
                    if error.is(StatusCode::FORBIDDEN) || error.is(StatusCode::NOT_FOUND) =>
                {
                    tracing::info!(
                        error = &error.cause as &dyn std::error::Error,
                        "organization membership not readable, the app needs Members: read"
                    );
                    Ok(false)
                }
                Err(error) => Err(error.cause),
            }
        }
        _ => Ok(false),
    }
}

/// Lists the ids of the installations that the user has access to.
async fn list_user_installations(
    github: &GitHub,
    token: &SecretString,
) -> Result<Vec<String>, ConnectorError> {
    let mut url = github.client.api(&["user", "installations"]);
    url.query_pairs_mut().append_pair("per_page", PER_PAGE);
    let (mut found, mut pages) = (Vec::new(), Pages::default());
    for _ in 0..MAX_PAGES {
        let call = || Call::new(oauth::ACCOUNT, "list_user_installations", token);
        let response = pages
            .get(&url, |url| github.client.get(url, call()))
            .await?;
        let page: InstallationList = response.json()?;
        // An unreadable row grants nothing and does not affect the others.
        let rows = page.installations.iter().map(AsRef::as_ref);
        let rows =
            UnreadableRows::default().read_all(rows, |raw| read::<Identified>("installation", raw));
        found.extend(rows.into_iter().map(|(row, _)| row.id.to_string()));
        match response.links().next {
            Some(next) => url = next,
            None => break,
        }
    }
    Ok(found)
}

/// Fetches the installation as the app and connects it if the user administers the account.
async fn grant(
    github: &GitHub,
    token: &SecretString,
    id: &str,
) -> Result<CallbackOutcome, ConnectorError> {
    let path = ["app", "installations", id];
    // A rejection of the app's token is retried; if it lasts, the app's settings are wrong.
    let response = github
        .call_as_app(Method::GET, &path, "get_installation")
        .await?;
    let installation: Installation = response.json()?;
    if installation.suspended_at.is_some() {
        return Ok(CallbackOutcome::denied(
            "The installation is suspended. Unsuspend it at GitHub, then start again.",
        ));
    }
    let unnamed = || permanent_error("GitHub's response has no account of the installation");
    let account = installation.external_account().ok_or_else(unnamed)?;
    let owner = installation.account.as_ref().ok_or_else(unnamed)?;
    let user = user_id(github, token).await?;
    if !is_administrator(github, token, user, owner).await? {
        return Ok(CallbackOutcome::AwaitingApproval {
            requester: user.to_string(),
            account: Some(Box::new(account)),
        });
    }
    Ok(CallbackOutcome::connected(NewGrant {
        account,
        tokens: None,
        user_token: None,
        scopes: installation.scopes(),
        administrator: Some(user.to_string()),
    }))
}
