//! Installations and their tokens, with and without rotation.

use super::world::World;

/// Life of a token that rotates.
const LIFE: i64 = 43_200;
/// Access tokens of one installation that may be good at once.
const MOST: usize = 2;

/// The app in a workspace.
pub(crate) struct Installation {
    pub(crate) scopes: Vec<String>,
    /// Access tokens that were given out, the newest last, and when they end.
    pub(crate) tokens: Vec<(String, Option<i64>)>,
    /// The refresh token that is good.
    pub(crate) refresh: Option<String>,
}

/// What a token stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A workspace's bot.
    Bot(String),
    /// A bot's token that has ended by itself.
    Expired,
    /// A bot's token that was withdrawn.
    Revoked,
    /// Nothing.
    Unknown,
}

/// A token and what comes with it.
pub(crate) struct Issued {
    pub(crate) access: String,
    pub(crate) refresh: Option<String>,
    pub(crate) expires_in: Option<i64>,
}

impl World {
    /// Installs the app, or gives the installation another token. Without rotation a
    /// workspace's bot keeps the token it has.
    pub(crate) fn install(
        &mut self,
        team: &str,
        scopes: Vec<String>,
        rotation: bool,
        now: i64,
    ) -> Issued {
        let known = self
            .installations
            .get(team)
            .filter(|_| !rotation)
            .and_then(|found| found.tokens.last())
            .filter(|(_, end)| end.is_none())
            .map(|(token, _)| token.clone());
        let installation = self
            .installations
            .entry(team.to_owned())
            .or_insert(Installation {
                scopes: Vec::new(),
                tokens: Vec::new(),
                refresh: None,
            });
        installation.scopes = scopes;
        if let Some(access) = known {
            return Issued {
                access,
                refresh: None,
                expires_in: None,
            };
        }
        self.issue(team, rotation, now)
    }

    /// Makes a token; the oldest beyond the cap dies.
    pub(crate) fn issue(&mut self, team: &str, rotation: bool, now: i64) -> Issued {
        let prefix = if rotation { "xoxe.xoxb-" } else { "xoxb-" };
        let access = format!("{prefix}{}-{}", self.number(), self.secret(24));
        let refresh = rotation.then(|| format!("xoxe-1-{}", self.secret(40)));
        let expires_in = rotation.then_some(LIFE);
        if let Some(installation) = self.installations.get_mut(team) {
            installation
                .tokens
                .push((access.clone(), expires_in.map(|life| now + life)));
            let surplus = installation.tokens.len().saturating_sub(MOST);
            installation.tokens.drain(..surplus);
            installation.refresh.clone_from(&refresh);
        }
        Issued {
            access,
            refresh,
            expires_in,
        }
    }

    /// The workspace whose refresh token this is.
    pub(crate) fn refreshed_by(&self, token: &str) -> Option<String> {
        self.installations
            .iter()
            .find(|(_, found)| found.refresh.as_deref() == Some(token))
            .map(|(team, _)| team.clone())
    }

    /// What a token stands for now.
    pub(crate) fn standing(&self, token: &str, now: i64) -> Standing {
        for (team, installation) in &self.installations {
            if let Some((_, end)) = installation.tokens.iter().find(|(one, _)| one == token) {
                return if end.is_some_and(|end| end <= now) {
                    Standing::Expired
                } else {
                    Standing::Bot(team.clone())
                };
            }
        }
        if token.starts_with("xoxb-") || token.starts_with("xoxe.xoxb-") {
            Standing::Revoked
        } else {
            Standing::Unknown
        }
    }
}
