//! Simulated Google: one host for the people, the consent and every product.
//!
//! It follows Google's documentation and recorded responses of its APIs. All paths begin with
//! `/google`: the consent page is `/google/o/oauth2/v2/auth`, Drive is `/google/drive/v3`.
//!
//! `Google` has what all products share: people, grants and tokens, signing keys, quotas and
//! the common settings (`/_sim/google/`). Each product is a provider of its own in the registry,
//! with its slug in the ledger, and holds an `Arc<Google>`. A new product needs:
//!
//! 1. A folder here with a struct that implements `Provider`,
//!    `Controlled` and `api::Product`, a re-export in
//!    `lib.rs` under its slug, and one line of the registry.
//! 2. Its world in its own `Mutex`, by the person's `sub`. Lock the world first and
//!    `Google::state` second. People may be added at any time, so a world makes a person's
//!    part when it first needs it.
//! 3. `api::Product::endpoint`, which names the method of a path with its units, scopes and
//!    default fields, and `api::Product::respond`; `api::router` serves them. `api`
//!    checks the token, the scopes and the quota before, and selects `fields` after. `faults`
//!    applies to every path that `Google::mount` has mounted.
//! 4. For pushes by channels, a `channels::Channels` with its kinds: `watch` and `stop` are
//!    requests, `notify` reports a change of a resource.
//! 5. Containers of the ledger from `Google::container`: a fact is on the API while the
//!    person's grant has a scope of the product.

pub(crate) mod api;
mod batch;
pub mod calendar;
pub(crate) mod channels;
mod control;
pub mod drive;
pub(crate) mod error;
mod faults;
pub(crate) mod fields;
pub mod gmail;
mod keys;
mod oauth;
pub(crate) mod people;
pub(crate) mod quotas;
mod settings;
#[cfg(test)]
mod tests;
pub(crate) mod tokens;

use std::collections::HashSet;
use std::sync::{Arc, MutexGuard, RwLockReadGuard};

use axum::Router;
use axum::http::{HeaderMap, header};
use axum::middleware::from_fn_with_state;
use rand::SeedableRng;
use rand::distr::{Alphanumeric, SampleString};
use rand::rngs::StdRng;

use self::error::ApiError;
use self::keys::Keys;
use self::people::{People, Person, digits};
use self::quotas::Quotas;
use self::tokens::{Caller, Tokens};
use super::lock::{Mutex, Shared};
use super::provider::Family;
use super::usage::Quota;
use super::{Config, Core, StartError};

pub use settings::{Settings, UnitQuota};

/// Slugs of the products, whose callback URLs the client has registered.
const PRODUCTS: [&str; 3] = ["google_drive", "google_calendar", "gmail"];

/// The registered OAuth client and its project.
pub(crate) struct App {
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    pub(crate) project_number: String,
}

/// State that all products share and change.
pub(crate) struct State {
    pub(crate) people: People,
    pub(crate) tokens: Tokens,
    pub(crate) quotas: Quotas,
    pub(crate) rng: StdRng,
}

/// The family of Google's products.
pub(crate) struct Google {
    pub(crate) core: Arc<Core>,
    /// Base URL of every service.
    pub(crate) base: String,
    pub(crate) app: App,
    /// Secret of the tokens that the product gives its channels.
    channel_secret: String,
    pub(crate) keys: Keys,
    settings: Shared<Settings>,
    state: Mutex<State>,
}

impl Google {
    pub(crate) fn start(
        config: &Config,
        base: &str,
        seed: u64,
        core: Arc<Core>,
    ) -> Result<Arc<Self>, StartError> {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x0067_6f6f_676c_6500);
        let project_number = digits(&mut rng, 12);
        let name = Alphanumeric.sample_string(&mut rng, 32).to_lowercase();
        let app = App {
            client_id: format!("{project_number}-{name}.apps.googleusercontent.com"),
            client_secret: format!("GOCSPX-{}", Alphanumeric.sample_string(&mut rng, 28)),
            project_number,
        };
        let mut settings = Settings {
            redirect_uris: PRODUCTS.map(|slug| config.callback_url(slug)).into(),
            ..Settings::default()
        };
        if !config.enforces_limits {
            settings.quotas.clear();
        }
        let mut people = People::default();
        for _ in 0..config.accounts {
            people.add_organization(None, config.people, &mut rng);
        }
        Ok(Arc::new(Self {
            core,
            base: format!("{base}/google"),
            app,
            channel_secret: Alphanumeric.sample_string(&mut rng, 48),
            keys: Keys::generate()?,
            settings: Shared::new(settings),
            state: Mutex::new(State {
                people,
                tokens: Tokens::default(),
                quotas: Quotas::default(),
                rng,
            }),
        }))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Current settings.
    pub(crate) fn settings(&self) -> RwLockReadGuard<'_, Settings> {
        self.settings.read()
    }

    pub(crate) fn change_settings(&self, change: impl FnOnce(&mut Settings)) {
        self.settings.change(change);
    }

    pub(crate) fn shared_settings(&self) -> &Shared<Settings> {
        &self.settings
    }

    /// Adds an organization and returns its administrator.
    pub(crate) fn add_organization(&self, name: Option<&str>, colleagues: usize) -> String {
        let mut guard = self.state();
        let state = &mut *guard;
        let people = &mut state.people;
        people.add_organization(name, colleagues, &mut state.rng)
    }

    /// Returns the id of the person outside of all organizations with this address.
    pub(crate) fn outsider(&self, address: &str) -> Option<String> {
        let mut guard = self.state();
        let state = &mut *guard;
        let is_address = address.contains('@');
        is_address.then(|| state.people.outsider(address, &mut state.rng))
    }

    pub(crate) fn person(&self, sub: &str) -> Option<Person> {
        self.state().people.get(sub).cloned()
    }

    /// Caller of a request's access token.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        let now = self.core.clock.seconds();
        let caller = bearer(headers).and_then(|token| self.state().tokens.caller(token, now));
        caller.ok_or_else(ApiError::unauthorized)
    }

    /// Mounts the routes of a product under `/google`, with the faults of requests.
    pub(crate) fn mount(self: &Arc<Self>, routes: Router) -> Router {
        let routes = routes.layer(from_fn_with_state(Arc::clone(self), faults::apply));
        Router::new().nest("/google", routes)
    }

    /// Containers of the people whose grant has one of these scopes.
    ///
    /// Numbers of different products are disjoint, as the ledger has one space of containers.
    pub(crate) fn visible(&self, source: &str, scopes: &[&str]) -> HashSet<u64> {
        let state = self.state();
        let people = state.people.all().filter(|person| {
            let granted = state.tokens.granted(&person.sub);
            granted.is_some_and(|granted| scopes.iter().any(|scope| granted.contains(*scope)))
        });
        people.map(|person| container(source, person)).collect()
    }

    /// Container of a person's facts of a product.
    pub(crate) fn container(&self, source: &str, sub: &str) -> u64 {
        let state = self.state();
        let person = state.people.get(sub);
        person.map_or(0, |person| container(source, person))
    }

    /// A product's quota, as the usage statistics compare it.
    pub(crate) fn quota(&self, source: &str, limit: &str) -> Option<Quota> {
        let settings = self.settings();
        let quota = settings.quotas.get(source)?;
        let is_shared = limit == quotas::PROJECT;
        let amount = if is_shared {
            quota.project_per_minute
        } else {
            quota.user_per_minute
        };
        Some(Quota {
            amount: amount?,
            window_seconds: 60,
            is_shared,
        })
    }
}

/// First container of the family; each product has a range of its own.
const FIRST_CONTAINER: u64 = 1 << 48;

fn container(source: &str, person: &Person) -> u64 {
    let product = PRODUCTS.iter().position(|slug| *slug == source);
    FIRST_CONTAINER + ((product.unwrap_or(PRODUCTS.len()) as u64) << 32) + person.container
}

/// Token of a request's `Authorization` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    value
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"))
        .map(|(_, token)| token.trim())
}

impl Family for Google {
    fn name(&self) -> &'static str {
        "google"
    }

    fn index(&self) -> &'static str {
        control::INDEX
    }

    fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("CLIENT_ID", self.app.client_id.clone()),
            ("CLIENT_SECRET", self.app.client_secret.clone()),
            ("WEBHOOK_SECRET", self.channel_secret.clone()),
            ("AUTH_BASE_URL", self.base.clone()),
            ("TOKEN_BASE_URL", self.base.clone()),
            ("USERINFO_BASE_URL", self.base.clone()),
            ("API_BASE_URL", self.base.clone()),
            ("GMAIL_API_BASE_URL", self.base.clone()),
        ]
    }

    fn router(self: Arc<Self>) -> Router {
        self.mount(oauth::router(&self))
            .merge(control::router(self))
    }

    fn shorten_retry_delays(&self) {
        self.change_settings(|settings| settings.retry_seconds = vec![0.1, 0.3, 0.6]);
    }
}
