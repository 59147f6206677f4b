//! Grants to the bot and to people, and their tokens.
//!
//! Bot and user tokens are separate: each grant has its own refresh token and its own limit of
//! two access tokens.

use super::world::World;

/// Lifetime of a token that rotates.
const TOKEN_TTL_SECONDS: i64 = 43_200;
/// Valid access tokens of one grant.
const MAX_ACCESS_TOKENS: usize = 2;

/// Scopes with their tokens.
#[derive(Default)]
pub(crate) struct Grant {
    pub(crate) scopes: Vec<String>,
    /// Valid access tokens, newest last, with their expiry.
    pub(crate) tokens: Vec<(String, Option<i64>)>,
    /// Current refresh token.
    pub(crate) refresh: Option<String>,
}

impl Grant {
    pub(crate) fn has(&self, scope: &str) -> bool {
        self.scopes.iter().any(|granted| granted == scope)
    }

    /// Whether it has a refresh token or a permanent access token.
    pub(crate) fn is_usable(&self) -> bool {
        self.refresh.is_some() || self.tokens.iter().any(|(_, end)| end.is_none())
    }
}

/// Owner of a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    /// A workspace or an organization.
    pub(crate) account: String,
    /// Person of a user token; `None` for the bot.
    pub(crate) person: Option<String>,
}

impl Holder {
    pub(crate) fn bot(account: &str) -> Self {
        Self {
            account: account.to_owned(),
            person: None,
        }
    }

    pub(crate) fn person(account: &str, person: &str) -> Self {
        Self {
            account: account.to_owned(),
            person: Some(person.to_owned()),
        }
    }

    /// Value of `token_type`.
    pub(crate) const fn kind(&self) -> &'static str {
        if self.person.is_some() { "user" } else { "bot" }
    }
}

/// State of a token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TokenState {
    /// Valid, with its owner.
    Active(Holder),
    /// Past its expiry.
    Expired,
    /// Revoked.
    Revoked,
    /// Bot token of an app that was removed.
    Removed,
    /// Not a token.
    Unknown,
}

/// A new token.
pub(crate) struct IssuedToken {
    pub(crate) access: String,
    pub(crate) refresh: Option<String>,
    pub(crate) expires_in: Option<i64>,
}

impl World {
    pub(crate) fn grant(&self, holder: &Holder) -> Option<&Grant> {
        match &holder.person {
            None => self.installations.get(&holder.account),
            Some(person) => self.personal.get(&(holder.account.clone(), person.clone())),
        }
    }

    pub(crate) fn grant_mut(&mut self, holder: &Holder) -> Option<&mut Grant> {
        match &holder.person {
            None => self.installations.get_mut(&holder.account),
            Some(person) => self
                .personal
                .get_mut(&(holder.account.clone(), person.clone())),
        }
    }

    /// Grants scopes and issues a token. Without rotation the holder keeps its token.
    pub(crate) fn grant_scopes(
        &mut self,
        holder: &Holder,
        scopes: Vec<String>,
        rotation: bool,
        now: i64,
    ) -> IssuedToken {
        let grant = match &holder.person {
            None => self
                .installations
                .entry(holder.account.clone())
                .or_default(),
            Some(person) => self
                .personal
                .entry((holder.account.clone(), person.clone()))
                .or_default(),
        };
        grant.scopes = scopes;
        let existing = grant
            .tokens
            .last()
            .filter(|(_, end)| !rotation && end.is_none());
        if let Some((access, _)) = existing {
            return IssuedToken {
                access: access.clone(),
                refresh: None,
                expires_in: None,
            };
        }
        self.issue(holder, rotation, now)
    }

    /// Issues a token and revokes the oldest beyond the limit.
    pub(crate) fn issue(&mut self, holder: &Holder, rotation: bool, now: i64) -> IssuedToken {
        let kind = if holder.person.is_some() {
            "xoxp-"
        } else {
            "xoxb-"
        };
        let prefix = if rotation { "xoxe." } else { "" };
        let access = format!("{prefix}{kind}{}-{}", self.number(), self.secret(24));
        let refresh = rotation.then(|| format!("xoxe-1-{}", self.secret(40)));
        let expires_in = rotation.then_some(TOKEN_TTL_SECONDS);
        if let Some(grant) = self.grant_mut(holder) {
            grant
                .tokens
                .push((access.clone(), expires_in.map(|seconds| now + seconds)));
            let excess = grant.tokens.len().saturating_sub(MAX_ACCESS_TOKENS);
            grant.tokens.drain(..excess);
            grant.refresh.clone_from(&refresh);
        }
        IssuedToken {
            access,
            refresh,
            expires_in,
        }
    }

    fn grants(&self) -> impl Iterator<Item = (Holder, &Grant)> {
        let bots = self
            .installations
            .iter()
            .map(|(account, grant)| (Holder::bot(account), grant));
        let people = self
            .personal
            .iter()
            .map(|((account, person), grant)| (Holder::person(account, person), grant));
        bots.chain(people)
    }

    /// Owner of a refresh token.
    pub(crate) fn find_refresh_token_holder(&self, token: &str) -> Option<Holder> {
        self.grants()
            .find(|(_, grant)| grant.refresh.as_deref() == Some(token))
            .map(|(holder, _)| holder)
    }

    /// State of a token at a time.
    pub(crate) fn token_state(&self, token: &str, now: i64) -> TokenState {
        for (holder, grant) in self.grants() {
            if let Some((_, end)) = grant.tokens.iter().find(|(access, _)| access == token) {
                return if end.is_some_and(|end| end <= now) {
                    TokenState::Expired
                } else {
                    TokenState::Active(holder)
                };
            }
        }
        if self.removed_tokens.contains(token) {
            return TokenState::Removed;
        }
        let plain = token.strip_prefix("xoxe.").unwrap_or(token);
        if plain.starts_with("xoxb-") || plain.starts_with("xoxp-") {
            TokenState::Revoked
        } else {
            TokenState::Unknown
        }
    }

    /// Expires a holder's rotating tokens now.
    pub(crate) fn expire(&mut self, holder: &Holder, now: i64) {
        if let Some(grant) = self.grant_mut(holder) {
            for (_, end) in &mut grant.tokens {
                *end = end.map(|_| now);
            }
        }
    }

    /// Accounts with a user token of a person.
    pub(crate) fn accounts_of_person(&self, person: &str) -> Vec<String> {
        self.personal
            .keys()
            .filter(|(_, holder)| holder == person)
            .map(|(account, _)| account.clone())
            .collect()
    }

    /// People with a user token in an account.
    pub(crate) fn persons_of(&self, account: &str) -> Vec<String> {
        self.personal
            .keys()
            .filter(|(owner, _)| owner == account)
            .map(|(_, person)| person.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_active(world: &World, token: &str) -> bool {
        matches!(world.token_state(token, 100), TokenState::Active(_))
    }

    #[test]
    fn bot_and_user_tokens_rotate_independently() {
        let mut world = World::new(1);
        let (bot, person) = (Holder::bot("T1"), Holder::person("T1", "U1"));
        let first = world.grant_scopes(&bot, vec!["a".to_owned()], true, 0);
        let own = world.grant_scopes(&person, vec!["b".to_owned()], true, 0);
        for _ in 0..2 {
            world.issue(&bot, true, 0);
        }
        assert_eq!(world.token_state(&first.access, 100), TokenState::Revoked);
        assert!(
            is_active(&world, &own.access),
            "each grant has its own limit"
        );
        let refresh = own.refresh.expect("a refresh token");
        assert_eq!(
            world.find_refresh_token_holder(&refresh),
            Some(person.clone())
        );
        world.issue(&person, true, 0);
        assert_eq!(
            world.find_refresh_token_holder(&refresh),
            None,
            "the refresh token is used"
        );
        assert!(is_active(&world, &own.access));
        world.expire(&person, 50);
        assert_eq!(world.token_state(&own.access, 100), TokenState::Expired);
    }

    #[test]
    fn permanent_token_is_kept_without_rotation() {
        let mut world = World::new(1);
        let bot = Holder::bot("T1");
        let first = world.grant_scopes(&bot, Vec::new(), false, 0).access;
        assert_eq!(world.grant_scopes(&bot, Vec::new(), false, 0).access, first);
        let rotating = world.grant_scopes(&bot, Vec::new(), true, 0);
        assert!(rotating.refresh.is_some() && rotating.access.starts_with("xoxe.xoxb-"));
        assert_eq!(world.token_state("xoxp-1-none", 0), TokenState::Revoked);
        assert_eq!(world.token_state("nonsense", 0), TokenState::Unknown);
    }
}
