//! The demo's tenants, kept in a file between runs.
//!
//! They are connected again in every run, because the simulated providers start empty each time.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use tests::api::Api;
use url::Url;

use crate::api;
use crate::browser::Browser;
use crate::simulator::{self, Account};

const NAMES: [&str; 12] = [
    "Aurora", "Borealis", "Cygnus", "Draco", "Equinox", "Fornax", "Gemini", "Horizon", "Indus",
    "Juniper", "Kepler", "Lyra",
];

/// Tenant with its cursor per provider.
#[derive(Serialize, Deserialize)]
pub(crate) struct Team {
    pub(crate) name: String,
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) cursors: BTreeMap<String, String>,
}

/// Content of the state file.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Teams {
    pub(crate) teams: Vec<Team>,
}

impl Teams {
    /// Loads the state of an earlier run, if there is one.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("failed to parse {}; remove it", path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("failed to read {}", path.display())),
        }
    }

    /// Saves the state, readable by its owner only because it has API keys.
    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let fresh = path.with_extension("new");
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options
            .open(&fresh)
            .with_context(|| format!("failed to write {}", fresh.display()))?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.write_all(b"\n")?;
        fs::rename(&fresh, path).with_context(|| format!("failed to write {}", path.display()))
    }

    /// Disconnects all connections of earlier runs; drops teams that the database does not have.
    pub(crate) async fn disconnect_all(&mut self, api: &Api) -> anyhow::Result<()> {
        let mut kept = Vec::new();
        for team in self.teams.drain(..) {
            let Some(connections) = api::connections(api, &team.key).await? else {
                continue;
            };
            for connection in connections
                .iter()
                .filter(|one| one.status != "disconnected")
            {
                api.disconnect(&team.key, &connection.id).await?;
            }
            kept.push(team);
        }
        self.teams = kept;
        Ok(())
    }

    /// Creates teams until there are `count`.
    pub(crate) async fn create_missing(&mut self, api: &Api, count: usize) -> anyhow::Result<()> {
        for number in self.teams.len()..count {
            let name = NAMES.get(number).map_or_else(
                || format!("Team {}", number + 1),
                |name| format!("Team {name}"),
            );
            let key = api.create_tenant(&name).await?;
            self.teams.push(Team {
                name,
                key,
                cursors: BTreeMap::new(),
            });
        }
        Ok(())
    }
}

/// Connects each team to one account per provider; returns a description for each team.
pub(crate) async fn connect(
    api: &Api,
    simulator: &Url,
    teams: &[Team],
) -> anyhow::Result<Vec<String>> {
    let mut connected = vec![Vec::new(); teams.len()];
    for provider in api::configured_providers(api).await? {
        let mut accounts = simulator::accounts(simulator, &provider).await?;
        accounts.sort_by(|a, b| a.name().cmp(b.name()));
        ensure!(
            accounts.len() >= teams.len(),
            "the simulator has {} accounts at {provider}, not {}",
            accounts.len(),
            teams.len()
        );
        for ((team, account), connected) in teams.iter().zip(&accounts).zip(&mut connected) {
            connect_one(api, team, &provider, account).await?;
            connected.push(format!("{provider} ({})", account.name()));
        }
    }
    Ok(connected.iter().map(|all| all.join(", ")).collect())
}

async fn connect_one(
    api: &Api,
    team: &Team,
    provider: &str,
    account: &Account,
) -> anyhow::Result<()> {
    let name = &team.name;
    let link = api.connect(&team.key, provider).await?;
    let page = Browser::logged_in_as(&account.admin)?
        .visit(link, &account.login)
        .await?;
    let response: serde_json::Value = serde_json::from_str(&page)
        .with_context(|| format!("failed to connect {name}: the flow ended at {provider}"))?;
    let status = &response["connection"]["status"];
    ensure!(
        status == "active",
        "the connection of {name} to {provider} is {status}"
    );
    Ok(())
}
