//! What was granted, to the bot and to people, and the tokens that stand for it.
//!
//! A bot's tokens and a person's are apart: each grant has a refresh token of its own, and its
//! own two access tokens at most.

use super::world::World;

/// Life of a token that rotates.
const LIFE: i64 = 43_200;
/// Access tokens of one grant that may be good at once.
const MOST: usize = 2;

/// Scopes, and the tokens that have them.
#[derive(Default)]
pub(crate) struct Grant {
    pub(crate) scopes: Vec<String>,
    /// Access tokens that were given out, the newest last, and when they end.
    pub(crate) tokens: Vec<(String, Option<i64>)>,
    /// The refresh token that is good.
    pub(crate) refresh: Option<String>,
}

impl Grant {
    pub(crate) fn has(&self, scope: &str) -> bool {
        self.scopes.iter().any(|one| one == scope)
    }

    /// Whether there is any way left to use it.
    pub(crate) fn alive(&self) -> bool {
        self.refresh.is_some() || self.tokens.iter().any(|(_, end)| end.is_none())
    }
}

/// Whose tokens they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    /// A workspace or an organization.
    pub(crate) account: String,
    /// A person; `None` for the bot.
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

    /// What `token_type` says.
    pub(crate) const fn kind(&self) -> &'static str {
        if self.person.is_some() { "user" } else { "bot" }
    }
}

/// What a token stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A grant.
    Good(Holder),
    /// A token that has ended by itself.
    Expired,
    /// A token that was withdrawn.
    Revoked,
    /// A bot's token whose app was removed, and the bot with it.
    Removed,
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

    /// Gives scopes, and a token for them. Without rotation the holder keeps the token it has.
    pub(crate) fn give(
        &mut self,
        holder: &Holder,
        scopes: Vec<String>,
        rotation: bool,
        now: i64,
    ) -> Issued {
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
        let known = grant
            .tokens
            .last()
            .filter(|(_, end)| !rotation && end.is_none());
        if let Some((access, _)) = known {
            return Issued {
                access: access.clone(),
                refresh: None,
                expires_in: None,
            };
        }
        self.issue(holder, rotation, now)
    }

    /// Makes a token; the oldest beyond the cap dies.
    pub(crate) fn issue(&mut self, holder: &Holder, rotation: bool, now: i64) -> Issued {
        let kind = if holder.person.is_some() {
            "xoxp-"
        } else {
            "xoxb-"
        };
        let prefix = if rotation { "xoxe." } else { "" };
        let access = format!("{prefix}{kind}{}-{}", self.number(), self.secret(24));
        let refresh = rotation.then(|| format!("xoxe-1-{}", self.secret(40)));
        let expires_in = rotation.then_some(LIFE);
        if let Some(grant) = self.grant_mut(holder) {
            grant
                .tokens
                .push((access.clone(), expires_in.map(|life| now + life)));
            let surplus = grant.tokens.len().saturating_sub(MOST);
            grant.tokens.drain(..surplus);
            grant.refresh.clone_from(&refresh);
        }
        Issued {
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

    /// Whose refresh token this is.
    pub(crate) fn refreshed_by(&self, token: &str) -> Option<Holder> {
        self.grants()
            .find(|(_, grant)| grant.refresh.as_deref() == Some(token))
            .map(|(holder, _)| holder)
    }

    /// What a token stands for now.
    pub(crate) fn standing(&self, token: &str, now: i64) -> Standing {
        for (holder, grant) in self.grants() {
            if let Some((_, end)) = grant.tokens.iter().find(|(one, _)| one == token) {
                return if end.is_some_and(|end| end <= now) {
                    Standing::Expired
                } else {
                    Standing::Good(holder)
                };
            }
        }
        if self.removed_tokens.contains(token) {
            return Standing::Removed;
        }
        let plain = token.strip_prefix("xoxe.").unwrap_or(token);
        if plain.starts_with("xoxb-") || plain.starts_with("xoxp-") {
            Standing::Revoked
        } else {
            Standing::Unknown
        }
    }

    /// Ends a holder's tokens that rotate.
    pub(crate) fn expire(&mut self, holder: &Holder, now: i64) {
        if let Some(grant) = self.grant_mut(holder) {
            for (_, end) in &mut grant.tokens {
                *end = end.map(|_| now);
            }
        }
    }

    /// Accounts in which a person has given the app a token.
    pub(crate) fn accounts_of_person(&self, person: &str) -> Vec<String> {
        self.personal
            .keys()
            .filter(|(_, one)| one == person)
            .map(|(account, _)| account.clone())
            .collect()
    }

    /// Persons who have given the app a token there.
    pub(crate) fn persons_of(&self, account: &str) -> Vec<String> {
        self.personal
            .keys()
            .filter(|(one, _)| one == account)
            .map(|(_, person)| person.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(world: &World, token: &str) -> bool {
        matches!(world.standing(token, 100), Standing::Good(_))
    }

    #[test]
    fn a_bots_tokens_and_a_persons_rotate_apart() {
        let mut world = World::new(1);
        let (bot, person) = (Holder::bot("T1"), Holder::person("T1", "U1"));
        let first = world.give(&bot, vec!["a".to_owned()], true, 0);
        let own = world.give(&person, vec!["b".to_owned()], true, 0);
        for _ in 0..2 {
            world.issue(&bot, true, 0);
        }
        assert_eq!(world.standing(&first.access, 100), Standing::Revoked);
        assert!(good(&world, &own.access), "the cap is each grant's own");
        let refresh = own.refresh.expect("a refresh token");
        assert_eq!(world.refreshed_by(&refresh), Some(person.clone()));
        world.issue(&person, true, 0);
        assert_eq!(world.refreshed_by(&refresh), None, "it is used");
        assert!(good(&world, &own.access));
        world.expire(&person, 50);
        assert_eq!(world.standing(&own.access, 100), Standing::Expired);
    }

    #[test]
    fn a_token_that_does_not_rotate_is_kept() {
        let mut world = World::new(1);
        let bot = Holder::bot("T1");
        let first = world.give(&bot, Vec::new(), false, 0).access;
        assert_eq!(world.give(&bot, Vec::new(), false, 0).access, first);
        let rotating = world.give(&bot, Vec::new(), true, 0);
        assert!(rotating.refresh.is_some() && rotating.access.starts_with("xoxe.xoxb-"));
        assert_eq!(world.standing("xoxp-1-none", 0), Standing::Revoked);
        assert_eq!(world.standing("nonsense", 0), Standing::Unknown);
    }
}
