//! Simulated Zoho: nine data centres with the accounts and every product.
//!
//! It follows Zoho's documentation and recorded responses of its APIs. All paths begin with
//! `/zoho/{dc}`: the consent page of the United States is `/zoho/us/oauth/v2/auth`. People
//! live in one data centre; their codes and tokens are invalid in all others.
//!
//! `Zoho` has what all products share: people, grants and tokens, locks and the common settings
//! (`/_sim/zoho/`). Each product is a provider of its own in the registry, with its slug in the
//! ledger, and holds an `Arc<Zoho>`. A new product needs:
//!
//! 1. A folder here with a struct that implements `Provider` and `Controlled`, a re-export in
//!    `lib.rs` under its slug, and one line of the registry. Its accounts are organizations,
//!    which `Zoho::add_account` adds.
//! 2. Its world in its own `Mutex`, by the person's login. Lock the world first and
//!    `Zoho::state` second. People may be added at any time, so a world makes a person's
//!    part when it first needs it.
//! 3. Routes below `/zoho/{dc}` by `Zoho::mount`, which applies faults to them. Their handlers
//!    take the `DataCenter`, and `Zoho::caller` and `Zoho::check_scope` check the token.
//! 4. Limits that lock an endpoint from `locks`, in `State::locks`.
//! 5. Containers of the ledger from `Zoho::container`: a fact is on the API while the person
//!    has a grant with a scope of the product.

pub(crate) mod access;
pub mod cliq;
pub(crate) mod control;
mod data_center;
pub(crate) mod faults;
pub(crate) mod locks;
pub mod mail;
mod oauth;
pub(crate) mod people;
mod settings;
#[cfg(test)]
mod tests;
pub(crate) mod tokens;

use std::collections::HashSet;
use std::sync::{Arc, MutexGuard, RwLockReadGuard};

use axum::Router;
use axum::middleware::from_fn_with_state;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use self::access::includes;
use self::faults::ErrorForm;
use self::locks::Locks;
use self::people::{NewOrganization, People, Person};
use self::tokens::Tokens;
use super::lock::{Mutex, Shared};
use super::provider::Family;
use super::{Config, Core, Simulator, StartError};

pub use data_center::DataCenter;
pub use settings::Settings;

/// Slugs of the products, whose callback URLs the client has registered.
const PRODUCTS: [&str; 2] = ["zoho_cliq", "zoho_mail"];

/// Data centre in which the client was registered.
pub(crate) const HOME: DataCenter = DataCenter::Us;

/// Data centre in which the client has a secret of its own from the start.
const SEPARATE: DataCenter = DataCenter::Eu;

/// The registered OAuth client.
pub(crate) struct App {
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
}

/// State that all products share and change.
pub(crate) struct State {
    pub(crate) people: People,
    pub(crate) tokens: Tokens,
    pub(crate) locks: Locks,
    pub(crate) rng: StdRng,
}

/// The family of Zoho's products.
pub(crate) struct Zoho {
    pub(crate) core: Arc<Core>,
    /// Base URL of all data centres.
    pub(crate) base: String,
    pub(crate) app: App,
    settings: Shared<Settings>,
    state: Mutex<State>,
}

impl Zoho {
    #[expect(clippy::unnecessary_wraps, reason = "the registry's families may fail")]
    pub(crate) fn start(
        config: &Config,
        base: &str,
        seed: u64,
        core: Arc<Core>,
    ) -> Result<Arc<Self>, StartError> {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x007a_6f68_6f00);
        let mut secret = || hex::encode(rng.random::<[u8; 21]>());
        let app = App {
            client_id: format!("1000.{}", secret()[..30].to_uppercase()),
            client_secret: secret(),
        };
        let mut settings = Settings {
            redirect_uris: PRODUCTS.map(|slug| config.callback_url(slug)).into(),
            client_secrets: [(SEPARATE, secret())].into(),
            ..Settings::default()
        };
        if !config.enforces_limits {
            settings.access_tokens_per_window = None;
            settings.refresh_tokens_per_minute = None;
        }
        let mut people = People::default();
        let new = NewOrganization {
            colleagues: config.people,
            ..NewOrganization::default()
        };
        for _ in 0..config.accounts {
            people.add_organization(&new, &mut rng);
        }
        Ok(Arc::new(Self {
            core,
            base: format!("{base}/zoho"),
            app,
            settings: Shared::new(settings),
            state: Mutex::new(State {
                people,
                tokens: Tokens::default(),
                locks: Locks::default(),
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

    /// Base URL of a data centre: its accounts server, API domain and hosts of products.
    pub(crate) fn server(&self, data_center: DataCenter) -> String {
        format!("{}/{}", self.base, data_center.name())
    }

    /// Secret of the client in a data centre.
    pub(crate) fn client_secret(&self, data_center: DataCenter) -> String {
        let settings = self.settings();
        let own = settings.client_secrets.get(&data_center);
        own.unwrap_or(&self.app.client_secret).clone()
    }

    /// Adds an organization and returns its administrator's login.
    ///
    /// `None` if the data centre has an account with the given id.
    pub(crate) fn add_organization(&self, new: &NewOrganization<'_>) -> Option<String> {
        let mut guard = self.state();
        let state = &mut *guard;
        state.people.add_organization(new, &mut state.rng)
    }

    pub(crate) fn person(&self, login: &str) -> Option<Person> {
        self.state().people.get(login).cloned()
    }

    /// Mounts the routes of a product under `/zoho/{dc}`, with the faults of requests.
    pub(crate) fn mount(self: &Arc<Self>, routes: Router, error_form: ErrorForm) -> Router {
        let state = (Arc::clone(self), error_form);
        let routes = routes.layer(from_fn_with_state(state, faults::apply));
        Router::new().nest("/zoho/{dc}", routes)
    }

    /// Containers of the people who have a grant with one of these scopes.
    ///
    /// Numbers of different products are disjoint, as the ledger has one space of containers.
    pub(crate) fn visible(&self, source: &str, scopes: &[&str]) -> HashSet<u64> {
        let state = self.state();
        let people = state.people.all().filter(|person| {
            let granted = state.tokens.granted(&person.login);
            granted.is_some_and(|granted| scopes.iter().any(|scope| includes(&granted, scope)))
        });
        people.map(|person| container(source, person)).collect()
    }

    /// Container of a person's facts of a product.
    pub(crate) fn container(&self, source: &str, login: &str) -> u64 {
        let state = self.state();
        let person = state.people.get(login);
        person.map_or(0, |person| container(source, person))
    }
}

/// First container of the family; each product has a range of its own.
const FIRST_CONTAINER: u64 = 1 << 49;

fn container(source: &str, person: &Person) -> u64 {
    let product = PRODUCTS.iter().position(|slug| *slug == source);
    FIRST_CONTAINER + ((product.unwrap_or(PRODUCTS.len()) as u64) << 32) + person.container
}

impl Simulator {
    /// Changes settings that all products of Zoho share.
    pub fn change_zoho(&self, change: impl FnOnce(&mut Settings)) {
        self.providers.zoho.change_settings(change);
    }
}

impl Family for Zoho {
    fn name(&self) -> &'static str {
        "zoho"
    }

    fn index(&self) -> &'static str {
        control::INDEX
    }

    fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("CLIENT_ID", self.app.client_id.clone()),
            ("CLIENT_SECRET", self.app.client_secret.clone()),
            ("CLIENT_SECRET_EU", self.client_secret(SEPARATE)),
            ("DATA_CENTER", HOME.name().to_owned()),
            ("BASE_URL", self.base.clone()),
        ]
    }

    fn router(self: Arc<Self>) -> Router {
        oauth::router(&self).merge(control::router(self))
    }
}
