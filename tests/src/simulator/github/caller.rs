//! Who sends a request: the app, an installation, a user, or nobody.

use std::collections::BTreeSet;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::GitHub;
use super::app::JwtFault;
use super::limits::{Allowance, Holder, Resource, hourly};
use super::settings::Settings;
use super::tokens::InstallationToken;
use super::world::{Id, Installation, Repository, World};

/// Requests per hour of an installation.
pub(crate) fn installation_hourly(world: &World, installation: &Installation, base: u32) -> u32 {
    let repositories = world.repositories_of(installation).len();
    let account = world.accounts.get(&installation.account);
    let users = account.map_or(0, |account| account.members.len());
    hourly(base, repositories, users)
}

/// The caller, as far as the `Authorization` header tells.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// No header.
    Anonymous,
    /// A valid JWT of the app.
    App,
    /// A JWT that is not accepted.
    RefusedJwt(JwtFault),
    /// A live installation token.
    Installation {
        token: String,
        grant: InstallationToken,
    },
    /// A live user token.
    User(Id),
    /// HTTP Basic with the OAuth client's id and secret; whether they are right.
    Client(bool),
    /// Something unknown, expired or revoked.
    Bad,
}

impl Caller {
    /// Reads the header.
    pub(crate) fn identify(hub: &GitHub, headers: &HeaderMap) -> Self {
        let Some(value) = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
        else {
            return Self::Anonymous;
        };
        let Some((scheme, credentials)) = value.split_once(' ') else {
            return Self::Bad;
        };
        let credentials = credentials.trim();
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => Self::basic(hub, credentials),
            "bearer" | "token" => Self::bearer(hub, credentials),
            _ => Self::Bad,
        }
    }

    fn basic(hub: &GitHub, credentials: &str) -> Self {
        let decoded = STANDARD
            .decode(credentials)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let expected = format!("{}:{}", hub.app.client_id, hub.app.client_secret);
        Self::Client(decoded.is_some_and(|given| given == expected))
    }

    fn bearer(hub: &GitHub, token: &str) -> Self {
        let now = hub.core.clock.seconds();
        if token.starts_with("ghs_") {
            let grant = hub.tokens.installation(token, now);
            return grant.map_or(Self::Bad, |grant| Self::Installation {
                token: token.to_owned(),
                grant,
            });
        }
        if token.starts_with("ghu_") {
            return hub
                .tokens
                .pair(token, now)
                .map_or(Self::Bad, |pair| Self::User(pair.user));
        }
        if token.matches('.').count() == 2 {
            // A JWT is dated by its client, who does not know our offset.
            return match hub.app.check_jwt(token, now - hub.core.clock.offset()) {
                Ok(()) => Self::App,
                Err(fault) => Self::RefusedJwt(fault),
            };
        }
        Self::Bad
    }

    /// Whose quota a request uses.
    pub(crate) const fn holder(&self) -> Holder {
        match self {
            Self::Installation { grant, .. } => Holder::Installation(grant.installation),
            Self::User(id) => Holder::User(*id),
            Self::App => Holder::App,
            _ => Holder::Anonymous,
        }
    }

    /// What the caller may spend on a resource.
    pub(crate) fn allowance(
        &self,
        world: &World,
        resource: Resource,
        settings: &Settings,
    ) -> Allowance {
        let limit = match resource {
            Resource::Core => self.hourly(world, settings.rate_limit),
            Resource::Search if matches!(self.holder(), Holder::Anonymous) => 10,
            Resource::Search => settings.search_limit,
        };
        Allowance {
            holder: self.holder(),
            resource,
            limit,
        }
    }

    fn hourly(&self, world: &World, base: u32) -> u32 {
        match self {
            Self::Installation { grant, .. } => {
                let installation = world.installations.get(&grant.installation);
                installation.map_or(base, |found| installation_hourly(world, found, base))
            }
            Self::User(_) | Self::App => base,
            _ => 60,
        }
    }

    /// The account a fault rule can name.
    pub(crate) fn account(&self, world: &World) -> Option<String> {
        match self {
            Self::Installation { grant, .. } => {
                let found = world.installations.get(&grant.installation)?;
                Some(world.login(found.account).to_owned())
            }
            Self::User(id) => Some(world.login(*id).to_owned()),
            _ => None,
        }
    }

    /// Whether this caller can see a repository at all.
    pub(crate) fn sees(&self, world: &World, repository: &Repository) -> bool {
        if !repository.private {
            return !matches!(self, Self::Bad | Self::RefusedJwt(_));
        }
        match self {
            Self::Installation { grant, .. } => {
                let installation = world.installations.get(&grant.installation);
                let covers = installation.is_some_and(|found| {
                    found.account == repository.owner && found.covers(repository.id)
                });
                let allowed = |ids: &BTreeSet<Id>| ids.contains(&repository.id);
                covers && grant.repositories.as_ref().is_none_or(allowed)
            }
            Self::User(id) => {
                let account = world.accounts.get(&repository.owner);
                account.is_some_and(|account| account.members.contains(id))
                    || repository.collaborators.contains(id)
            }
            _ => false,
        }
    }

    /// Whether this caller may read what needs a permission.
    pub(crate) fn may(&self, world: &World, permission: &str) -> bool {
        match self {
            Self::Installation { grant, .. } => {
                let installation = world.installations.get(&grant.installation);
                installation.is_some_and(|found| found.permits(permission))
                    && (permission == "metadata" || grant.permissions.contains_key(permission))
            }
            _ => true,
        }
    }
}
