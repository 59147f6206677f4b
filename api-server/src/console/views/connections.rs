//! The list of connections.

use maud::{Markup, html};
use shared::db::connections::ConnectionStatus;
use shared::health::HealthState;
use strum::VariantArray;

use super::parts::{connection_path, id_field, next_page, select, state, time};
use crate::pages::Text;
use crate::pages::console::{ConsolePage, Section};
use crate::routes::connections::Connection;

/// A connection and its tenant's name.
pub(crate) struct ConnectionRow {
    pub(crate) connection: Connection,
    pub(crate) tenant: String,
}

/// The list of connections.
pub(crate) struct ConnectionsView<'a> {
    pub(crate) rows: &'a [ConnectionRow],
    pub(crate) next_cursor: Option<&'a str>,
    /// The slugs of providers.
    pub(crate) providers: &'a [&'a str],
    pub(crate) provider: &'a str,
    pub(crate) status: &'a str,
    pub(crate) health: &'a str,
    /// The id of the tenant; empty for all.
    pub(crate) tenant: &'a str,
}

impl ConnectionsView<'_> {
    pub(crate) fn page(&self) -> ConsolePage {
        let filter = [
            ("health", self.health),
            ("status", self.status),
            ("provider", self.provider),
            ("tenant", self.tenant),
        ];
        let content = html! {
            h1 { "Connections" }
            (self.filter())
            @if self.rows.is_empty() {
                p { "No connection matches. " a href="/console/connections" { "Show all" } }
            } @else {
                (self.table())
            }
            (next_page("/console/connections", &filter, self.next_cursor))
        };
        ConsolePage {
            title: "Connections".to_owned(),
            section: Some(Section::Connections),
            content,
            live: None,
        }
    }

    fn filter(&self) -> Markup {
        let health: Vec<_> = HealthState::VARIANTS
            .iter()
            .map(|state| (state.as_str(), state.as_str()))
            .collect();
        let status: Vec<(&str, &str)> = ConnectionStatus::VARIANTS
            .iter()
            .map(|status| (status.into(), status.into()))
            .collect();
        let providers: Vec<_> = self.providers.iter().map(|slug| (*slug, *slug)).collect();
        html! {
            form class="filter" method="get" action="/console/connections" role="search" {
                (select("health", "Health", "any", &health, self.health))
                (select("status", "Status", "any", &status, self.status))
                (select("provider", "Provider", "any", &providers, self.provider))
                (id_field("tenant", "Tenant's id", self.tenant))
                button class="small" type="submit" { "Filter" }
            }
        }
    }

    fn table(&self) -> Markup {
        html! {
            div class="scroll" {
                table {
                    thead { tr {
                        th scope="col" { "Account" } th scope="col" { "Provider" }
                        th scope="col" { "Tenant" } th scope="col" { "Health" }
                        th scope="col" { "Explanation" } th scope="col" { "Last sync (UTC)" }
                    } }
                    tbody { @for row in self.rows { (table_row(row)) } }
                }
            }
        }
    }
}

fn table_row(row: &ConnectionRow) -> Markup {
    let connection = &row.connection;
    let path = connection_path(connection.tenant_id, connection.id);
    let account = connection.account.as_ref();
    html! {
        tr {
            th scope="row" {
                a href=(path) {
                    bdi { (Text(account.map_or("not named yet", |account| account.name.as_str()))) }
                }
            }
            td { (Text(&connection.provider)) }
            td {
                a href={ "/console/tenants/" (connection.tenant_id) } { bdi { (Text(&row.tenant)) } }
            }
            td { (state(connection.health.state.as_str())) }
            td { (Text(&connection.health.explanation)) }
            td {
                @match connection.last_sync_at {
                    Some(at) => { (time(at)) }
                    None => { span class="muted" { "never" } }
                }
            }
        }
    }
}
