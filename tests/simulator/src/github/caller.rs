//! Sender of a request: the app, an installation, a user, or an anonymous client.

use std::collections::BTreeSet;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::GitHub;
use super::app::JwtError;
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

/// Caller, identified by the `Authorization` header.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// No `Authorization` header.
    Anonymous,
    /// A valid JWT of the app.
    App,
    /// A rejected JWT.
    RejectedJwt(JwtError),
    /// A valid installation token.
    Installation {
        token: String,
        grant: InstallationToken,
    },
    /// A valid user token.
    User(Id),
    /// HTTP Basic credentials of the OAuth client, and whether they are correct.
    Client(bool),
    /// An unknown, expired or revoked credential.
    Invalid,
}

impl Caller {
    /// Identifies the caller by the header.
    pub(crate) fn identify(service: &GitHub, headers: &HeaderMap) -> Self {
        let Some(value) = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
        else {
            return Self::Anonymous;
        };
        let Some((scheme, credentials)) = value.split_once(' ') else {
            return Self::Invalid;
        };
        let credentials = credentials.trim();
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => Self::basic(service, credentials),
            "bearer" | "token" => Self::bearer(service, credentials),
            _ => Self::Invalid,
        }
    }

    fn basic(service: &GitHub, credentials: &str) -> Self {
        let decoded = STANDARD
            .decode(credentials)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let expected = format!("{}:{}", service.app.client_id, service.app.client_secret);
        Self::Client(decoded.is_some_and(|credentials| credentials == expected))
    }

    fn bearer(service: &GitHub, token: &str) -> Self {
        let now = service.core.clock.seconds();
        if token.starts_with("ghs_") {
            let grant = service.tokens.installation(token, now);
            return grant.map_or(Self::Invalid, |grant| Self::Installation {
                token: token.to_owned(),
                grant,
            });
        }
        if token.starts_with("ghu_") {
            return service
                .tokens
                .pair(token, now)
                .map_or(Self::Invalid, |pair| Self::User(pair.user));
        }
        if token.matches('.').count() == 2 {
            // The client signs a JWT with the system time, without the simulated offset.
            return match service
                .app
                .verify_jwt(token, now - service.core.clock.offset())
            {
                Ok(()) => Self::App,
                Err(error) => Self::RejectedJwt(error),
            };
        }
        Self::Invalid
    }

    /// Holder of the quota that a request uses.
    pub(crate) const fn holder(&self) -> Holder {
        match self {
            Self::Installation { grant, .. } => Holder::Installation(grant.installation),
            Self::User(id) => Holder::User(*id),
            Self::App => Holder::App,
            _ => Holder::Anonymous,
        }
    }

    /// Quota of the caller for a resource.
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

    /// Account that a fault rule matches.
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

    /// Whether the caller can see a repository.
    pub(crate) fn can_see(&self, world: &World, repository: &Repository) -> bool {
        if !repository.private {
            return !matches!(self, Self::Invalid | Self::RejectedJwt(_));
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

    /// Whether the caller has a permission.
    pub(crate) fn has_permission(&self, world: &World, permission: &str) -> bool {
        match self {
            Self::Installation { grant, .. } => {
                let installation = world.installations.get(&grant.installation);
                installation.is_some_and(|found| found.has_permission(permission))
                    && (permission == "metadata" || grant.permissions.contains_key(permission))
            }
            _ => true,
        }
    }
}
