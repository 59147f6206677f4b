//! The connect flow: install the app, then prove by OAuth who did it.
//!
//! Leg one is the install page; GitHub comes back with `installation_id` and
//! `setup_action`. Leg two is OAuth; GitHub comes back with `code`. An app that asks for
//! OAuth during installation sends a code with the installation: nothing of ours asked for
//! that code, so it is discarded and leg two follows.
//!
//! Access is not administration: every member of an organization sees its installation. Who
//! connects an organization proves to be its admin
//! (<https://docs.github.com/rest/orgs/members#get-an-organization-membership-for-the-authenticated-user>),
//! who connects a personal account proves to be that person.

use http::{Method, StatusCode};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

use super::oauth::{self, Exchange};
use crate::connectors::github::GitHub;
use crate::connectors::github::client::{Call, PER_PAGE, operator_fault};
use crate::connectors::github::wire::{
    Installation, InstallationList, ListedInstallation, OrganizationMembership, User, decimal, read,
};
use crate::connectors::rows::UnreadableRows;
use crate::connectors::{
    AuthorizeRequest, Callback, CallbackOutcome, ConnectorError, NewGrant, with_new_token,
};

/// Pages of a person's installations that are read before giving up: ten thousand of them.
const MOST_PAGES: usize = 100;

/// What leg two must know of leg one. Untrusted: it only says what is to be proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "setup")]
enum Carry {
    /// The app was installed.
    Installed {
        /// As the redirect claimed.
        installation_id: String,
    },
    /// The app was asked for; an owner of the organization must approve.
    Requested,
    /// GitHub named no installation.
    Unnamed,
}

/// Where the browser goes next.
pub(in super::super) fn authorize(github: &GitHub, request: &AuthorizeRequest) -> Url {
    if request.carry.is_none() {
        let folder = github.client.apps_folder();
        let mut url = github
            .client
            .web(&[folder, &github.app.slug, "installations", "new"]);
        url.query_pairs_mut().append_pair("state", &request.state);
        return url;
    }
    let mut url = github.client.web(&["login", "oauth", "authorize"]);
    url.query_pairs_mut()
        .append_pair("client_id", &github.app.client_id)
        .append_pair("redirect_uri", request.redirect_uri.as_str())
        .append_pair("state", &request.state)
        .append_pair("code_challenge", &request.code_challenge)
        .append_pair("code_challenge_method", "S256");
    url
}

/// What a redirect led to.
pub(in super::super) async fn exchange_token(
    github: &GitHub,
    callback: &Callback,
) -> Result<CallbackOutcome, ConnectorError> {
    if let Some(error) = callback.param("error") {
        return refused(error);
    }
    let claim = match claim(callback) {
        Ok(Some(claim)) => claim,
        Ok(None) => {
            return Ok(CallbackOutcome::denied(
                "GitHub's answer names neither an installation nor a code.",
            ));
        }
        Err(reason) => return Ok(CallbackOutcome::denied(reason)),
    };
    let Some(code) = asked_code(callback) else {
        return proceed(&claim);
    };
    let token = match oauth::exchange(github, callback, code).await? {
        Exchange::Token(token) => token,
        Exchange::Denied(reason) => return Ok(CallbackOutcome::denied(reason)),
    };
    let outcome = with_new_token(|| Box::pin(prove(github, &token, claim.clone()))).await;
    oauth::discard(github, &token).await;
    outcome
}

/// The code that leg two asked for. One that comes with an installation, or before leg two,
/// was not bound to our verifier.
fn asked_code(callback: &Callback) -> Option<&str> {
    let with_installation =
        callback.param("installation_id").is_some() || callback.param("setup_action").is_some();
    if callback.carry.is_none() || with_installation {
        return None;
    }
    code(callback)
}

fn code(callback: &Callback) -> Option<&str> {
    callback.param("code").filter(|code| !code.is_empty())
}

/// GitHub's word for why there is no code, from the redirect's query: untrusted, so only
/// known words are understood and none is repeated.
fn refused(error: &str) -> Result<CallbackOutcome, ConnectorError> {
    match error {
        "redirect_uri_mismatch" | "application_suspended" | "incorrect_client_credentials" => Err(
            operator_fault(format!("GitHub refused the app with {error}")),
        ),
        "access_denied" => Ok(CallbackOutcome::denied(
            "The authorization was declined at GitHub.",
        )),
        _ => Ok(CallbackOutcome::denied(
            "GitHub did not authorize the connection.",
        )),
    }
}

/// What the redirect, or the leg before it, claims. A redirect's own word goes first.
fn claim(callback: &Callback) -> Result<Option<Carry>, &'static str> {
    if callback.param("setup_action") == Some("request") {
        return Ok(Some(Carry::Requested));
    }
    if let Some(id) = callback.param("installation_id") {
        if !decimal(id) {
            return Err("GitHub's answer names an installation that cannot exist.");
        }
        return Ok(Some(Carry::Installed {
            installation_id: id.to_owned(),
        }));
    }
    match callback.carry.clone() {
        Some(carry) => serde_json::from_value(carry)
            .map(Some)
            .map_err(|_| "The connection was begun by another version; please begin again."),
        None => Ok(code(callback).map(|_| Carry::Unnamed)),
    }
}

fn proceed(claim: &Carry) -> Result<CallbackOutcome, ConnectorError> {
    let carry =
        serde_json::to_value(claim).map_err(|error| ConnectorError::Permanent(error.into()))?;
    Ok(CallbackOutcome::Continue { carry })
}

/// Lets the person's own token say what they may connect.
async fn prove(
    github: &GitHub,
    token: &SecretString,
    claim: Carry,
) -> Result<CallbackOutcome, ConnectorError> {
    let id = match claim {
        Carry::Requested => {
            return Ok(CallbackOutcome::AwaitingApproval {
                requester: person(github, token).await?.to_string(),
                account: None,
            });
        }
        Carry::Installed { installation_id } => {
            if !theirs(github, token).await?.contains(&installation_id) {
                return Ok(CallbackOutcome::denied(
                    "This installation is not among those you have access to.",
                ));
            }
            installation_id
        }
        Carry::Unnamed => {
            let mut theirs = theirs(github, token).await?;
            match (theirs.pop(), theirs.is_empty()) {
                (Some(only), true) => only,
                (None, _) => {
                    return Ok(CallbackOutcome::denied(
                        "The app is not installed on any of your accounts.",
                    ));
                }
                (Some(_), false) => {
                    return Ok(CallbackOutcome::denied(
                        "The app is installed on several of your accounts; \
                         please begin again and choose one on the install page.",
                    ));
                }
            }
        }
    };
    grant(github, token, &id).await
}

/// The numeric id of the person who came back.
async fn person(github: &GitHub, token: &SecretString) -> Result<u64, ConnectorError> {
    let call = Call::new(oauth::ACCOUNT, "get_user", token);
    let answer = github
        .client
        .get(github.client.api(&["user"]), call)
        .await?;
    let user: User = answer.json()?;
    user.id
        .ok_or_else(|| operator_fault("GitHub names no id for the person"))
}

/// Whether the person administers the account. GitHub's refusal to tell is no proof.
async fn administers(
    github: &GitHub,
    token: &SecretString,
    person: u64,
    account: &User,
) -> Result<bool, ConnectorError> {
    match account.kind.as_deref() {
        Some("User") => Ok(account.id == Some(person)),
        Some("Organization") => {
            let Some(login) = &account.login else {
                return Ok(false);
            };
            let url = github.client.api(&["user", "memberships", "orgs", login]);
            let call = Call::new(oauth::ACCOUNT, "get_organization_membership", token);
            match github.client.get(url, call).await {
                Ok(answer) => {
                    let membership: OrganizationMembership = answer.json()?;
                    Ok(membership.is_admin_of(account))
                }
                Err(refusal)
                    if refusal.is(StatusCode::FORBIDDEN) || refusal.is(StatusCode::NOT_FOUND) =>
                {
                    tracing::info!(
                        error = &refusal.error as &dyn std::error::Error,
                        "organization membership is not readable; the app needs Members: read"
                    );
                    Ok(false)
                }
                Err(refusal) => Err(refusal.error),
            }
        }
        _ => Ok(false),
    }
}

/// The ids of the installations that this person has access to.
async fn theirs(github: &GitHub, token: &SecretString) -> Result<Vec<String>, ConnectorError> {
    let mut url = github.client.api(&["user", "installations"]);
    url.query_pairs_mut().append_pair("per_page", PER_PAGE);
    let mut found = Vec::new();
    for _ in 0..MOST_PAGES {
        let call = Call::new(oauth::ACCOUNT, "list_user_installations", token);
        let answer = github.client.get(url, call).await?;
        let page: InstallationList = answer.json()?;
        // An installation whose row cannot be read is not proved, and hides no other.
        let rows = page.installations.iter().map(AsRef::as_ref);
        let rows = UnreadableRows::default()
            .read_all(rows, |raw| read::<ListedInstallation>("installation", raw));
        found.extend(rows.into_iter().map(|(row, _)| row.id.to_string()));
        match answer.links().next {
            Some(next) => url = next,
            None => break,
        }
    }
    Ok(found)
}

/// The installation as the app itself sees it, once the person proves to administer it.
async fn grant(
    github: &GitHub,
    token: &SecretString,
    id: &str,
) -> Result<CallbackOutcome, ConnectorError> {
    let path = ["app", "installations", id];
    let answer = github
        .as_app(Method::GET, &path, "get_installation")
        .await?;
    let installation: Installation = answer.json()?;
    if installation.suspended_at.is_some() {
        return Ok(CallbackOutcome::denied(
            "The installation is suspended; end the suspension at GitHub and begin again.",
        ));
    }
    let unnamed = || operator_fault("GitHub names no account for the installation");
    let account = installation.external_account().ok_or_else(unnamed)?;
    let owner = installation.account.as_ref().ok_or_else(unnamed)?;
    let person = person(github, token).await?;
    if !administers(github, token, person, owner).await? {
        return Ok(CallbackOutcome::AwaitingApproval {
            requester: person.to_string(),
            account: Some(Box::new(account)),
        });
    }
    Ok(CallbackOutcome::connected(NewGrant {
        account,
        tokens: None,
        person: None,
        scopes: installation.scopes(),
        administrator: Some(person.to_string()),
    }))
}
