//! One connection: its health and what helps, streams, scopes, jobs, deliveries, Signals, changes.

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use shared::db::connections::ConnectionStatus;
use shared::health::{ActionKind, Actor, HealthAction};
use shared::model::OperatorRole;
use shared::signals::Signal;

use super::audit_log::entries_table;
use super::deliveries::deliveries_table;
use super::jobs::{JobRow, jobs_table};
use super::parts::{Notice, connection_path, error, id, notice, state, time, time_or, with_query};
use super::signals::signals_table;
use crate::pages::console::{ConsolePage, Section, SignedIn};
use crate::pages::{Text, hidden};
use crate::routes::audit_log::AuditLogEntry;
use crate::routes::connections::Connection;
use crate::routes::connections::get::ConnectionDetail;
use crate::routes::connections::streams::Stream;
use crate::routes::deliveries::Delivery;

/// One connection.
pub(crate) struct ConnectionView<'a> {
    pub(crate) operator: SignedIn<'a>,
    pub(crate) detail: &'a ConnectionDetail,
    /// The tenant's name.
    pub(crate) tenant: &'a str,
    /// The first streams that cannot be read, or the first of all.
    pub(crate) streams: &'a [Stream],
    pub(crate) jobs: &'a [JobRow],
    pub(crate) deliveries: &'a [Delivery],
    pub(crate) signals: &'a [Signal],
    pub(crate) changes: &'a [AuditLogEntry],
    pub(crate) notice: Option<Notice>,
}

impl ConnectionView<'_> {
    pub(crate) fn page(&self) -> ConsolePage {
        let connection = self.connection();
        let account = connection.account.as_ref();
        let name = account.map_or("not named yet", |account| account.name.as_str());
        let tenant = connection.tenant_id.to_string();
        let own = connection.id.to_string();
        let all = |path: &str| {
            with_query(
                path,
                &[("tenant", tenant.as_str()), ("connection", own.as_str())],
            )
        };
        let content = html! {
            (notice(self.notice))
            h1 { (Text(&connection.provider)) ": " bdi { (Text(name)) } }
            (self.health())
            (self.actions())
            div class="grid" { (self.facts()) (self.webhooks()) }
            (self.streams())
            (section("Jobs", &all("/console/jobs"), &jobs_table(self.operator, self.jobs, false)))
            (section(
                "Deliveries",
                &all("/console/deliveries"),
                &deliveries_table(connection.tenant_id, self.deliveries),
            ))
            (section("Signals", &all("/console/signals"), &signals_table(self.signals)))
            (section(
                "Changes",
                &with_query("/console/audit-log", &[("tenant", &tenant), ("target", &own)]),
                &entries_table(self.changes),
            ))
        };
        ConsolePage {
            title: format!("{}: {name}", connection.provider),
            section: Some(Section::Connections),
            content,
            live: None,
        }
    }

    fn connection(&self) -> &Connection {
        &self.detail.connection
    }

    fn health(&self) -> Markup {
        let connection = self.connection();
        let health = &connection.health;
        html! {
            section class="panel" aria-labelledby="health" {
                h2 id="health" { "Health: " (state(health.state.as_str())) }
                p class="lead" { (Text(&health.explanation)) }
                p {
                    b { "What helps: " } (action(&health.action))
                    @if let Some(until) = health.action.until { " Until " (time(until)) " UTC." }
                }
                p class="muted" {
                    "Reason " code { (health.reason.as_str()) } " since " (time(health.since)) " UTC"
                }
                @for warning in &connection.warnings { p class="notice" { (Text(&warning.message)) } }
                @if let Some(last) = &connection.last_error { p { b { "Last error: " } (error(last)) } }
            }
        }
    }

    fn actions(&self) -> Markup {
        let connection = self.connection();
        let path = connection_path(connection.tenant_id, connection.id);
        let form = |action: &str, label: &str| {
            html! {
                form method="post" action={ (path) "/" (action) } {
                    (self.operator.token())
                    button class="small" type="submit" { (label) }
                }
            }
        };
        if !self.operator.may(OperatorRole::Operator) {
            return html! {};
        }
        let status = connection.status;
        let can_sync = matches!(
            status,
            ConnectionStatus::Active | ConnectionStatus::Suspended | ConnectionStatus::NeedsReauth
        );
        html! {
            div class="buttons" {
                @if can_sync {
                    (form("sync", "Sync now"))
                    (form("full-sync", "Read the past again"))
                }
                @if status == ConnectionStatus::Active { (form("pause", "Pause")) }
                @if status == ConnectionStatus::Paused { (form("resume", "Resume")) }
                (form("reconnect", "Create a reconnect link"))
            }
            @if self.operator.may(OperatorRole::Admin) && status != ConnectionStatus::Disconnected {
                (self.disconnect(&path))
            }
        }
    }

    fn disconnect(&self, path: &str) -> Markup {
        html! {
            details {
                summary class="danger" { "Disconnect" }
                p {
                    "Ends the grant at the provider, erases tokens and cursors, and cancels waiting \
                     jobs. Signals are kept. To read the account again, a person must connect it."
                }
                form method="post" action={ (path) "/disconnect" } {
                    (self.operator.token())
                    (hidden("confirm", "yes"))
                    button class="small danger" type="submit" { "Disconnect now" }
                }
            }
        }
    }

    fn facts(&self) -> Markup {
        let connection = self.connection();
        let missing = |scope: &&&str| !connection.scopes.iter().any(|granted| granted == **scope);
        html! {
            section class="panel" {
                h2 { "Connection" }
                dl class="facts" {
                    dt { "Tenant" }
                    dd {
                        a href={ "/console/tenants/" (connection.tenant_id) } {
                            bdi { (Text(self.tenant)) }
                        }
                    }
                    dt { "Id" } dd { (id(&connection.id.to_string())) }
                    dt { "Status" }
                    dd {
                        (state(connection.status.into()))
                        @if let Some(reason) = &connection.status_reason {
                            " " code { (Text(reason)) }
                        }
                    }
                    dt { "Last sync" } dd { (time_or(connection.last_sync_at, "never")) }
                    dt { "Next sync" } dd { (time_or(connection.next_sync_at, "not planned")) }
                    dt { "Complete through" }
                    dd { (time_or(connection.complete_through, "not read yet")) }
                    dt { "Reconciled through" }
                    dd { (time_or(connection.reconciled_through, "not read yet")) }
                    @if let Some(backfill) = &connection.backfill {
                        dt { "Backfill" }
                        dd { (format!("{:.0} %", backfill.progress * 100.0)) }
                    }
                    @if let Some(held) = &connection.held_back_by {
                        dt { "Held back by" }
                        dd { code { (Text(&held.stream)) } " " (Text(&held.message)) }
                    }
                    dt { "Granted" } dd { (scopes(connection.scopes.iter().map(String::as_str))) }
                    dt { "Required, not granted" }
                    dd {
                        (scopes(connection.required_scopes.iter().filter(missing).copied()))
                    }
                }
            }
        }
    }

    fn webhooks(&self) -> Markup {
        let connection = self.connection();
        let webhooks = &connection.webhooks;
        html! {
            section class="panel" {
                h2 { "Webhooks" }
                dl class="facts" {
                    dt { "State" } dd { (<&str>::from(webhooks.state)) }
                    dt { "Last delivery" } dd { (time_or(webhooks.last_delivery_at, "none")) }
                    dt { "Missed in 24 hours" } dd { (webhooks.missed_24h) }
                    @if let Some(count) = webhooks.subscriptions {
                        dt { "Subscriptions" } dd { (count) }
                    }
                    dt { "Last Signal" } dd { (time_or(connection.last_signal_at, "none")) }
                }
            }
        }
    }

    fn streams(&self) -> Markup {
        let counts = &self.detail.streams;
        html! {
            section class="panel" {
                h2 { "Streams" }
                p {
                    (counts.total) " in all: "
                    (counts.complete) " complete, " (counts.reading) " reading, "
                    (counts.limited) " limited, " (counts.denied) " denied, "
                    (counts.failing) " failing."
                }
                @if !self.streams.is_empty() {
                    div class="scroll" {
                        table {
                            caption { "The first streams; those that cannot be read come first." }
                            thead { tr {
                                th scope="col" { "Stream" } th scope="col" { "State" }
                                th scope="col" { "Complete through (UTC)" }
                                th scope="col" { "Next run (UTC)" } th scope="col" { "Error" }
                            } }
                            tbody { @for stream in self.streams { (stream_row(stream)) } }
                        }
                    }
                }
            }
        }
    }
}

fn stream_row(stream: &Stream) -> Markup {
    html! {
        tr {
            th scope="row" { code { (Text(&stream.key)) } }
            td { (state(stream.state.into())) }
            td { (time_or(stream.complete_through, "not read yet")) }
            td { (time_or(stream.next_run_at, "not planned")) }
            td {
                @if let Some(failure) = &stream.error { (error(failure)) }
                @if let Some(scope) = stream.required_scope {
                    " Needs the scope " code { (scope) } "."
                }
            }
        }
    }
}

fn scopes<'s>(scopes: impl Iterator<Item = &'s str>) -> Markup {
    let scopes: Vec<&str> = scopes.collect();
    html! {
        @if scopes.is_empty() { span class="muted" { "none" } }
        @for (index, scope) in scopes.iter().enumerate() {
            @if index > 0 { ", " }
            code { (Text(scope)) }
        }
    }
}

/// A part of the page with a link to the whole list.
fn section(title: &str, all: &str, content: &Markup) -> Markup {
    html! {
        section class="panel" {
            h2 { (title) }
            (content)
            p { a href=(Text(all)) { "All " (title.to_lowercase()) " of this connection" } }
        }
    }
}

/// Who must do what.
fn action(action: &HealthAction) -> &'static str {
    match (action.kind, action.who) {
        (ActionKind::Reconnect, _) => {
            "An administrator of the team's account connects it again. Create a reconnect link and \
             send it."
        }
        (ActionKind::GrantScope, _) => {
            "An administrator of the team's account connects it again and allows the missing \
             scope. Create a reconnect link and send it."
        }
        (ActionKind::Approve, _) => {
            "An administrator of the team's account approves the connection at the provider."
        }
        (ActionKind::Wait, _) => "Wait; it resumes without an action.",
        (ActionKind::CheckSettings, Actor::TeamAdmin) => {
            "An administrator of the team's account checks the settings at the provider."
        }
        (ActionKind::CheckSettings, _) => {
            "An operator checks the settings of this service and of its app at the provider."
        }
        (ActionKind::None, _) => "No action is necessary.",
    }
}

/// A new link that connects an account again.
pub(crate) struct ConnectLinkView<'a> {
    pub(crate) provider: &'a str,
    pub(crate) url: &'a str,
    pub(crate) expires_at: DateTime<Utc>,
    /// The path of the connection's page.
    pub(crate) back: &'a str,
}

impl ConnectLinkView<'_> {
    pub(crate) fn page(&self) -> ConsolePage {
        let content = html! {
            div class="panel" {
                h1 { "Reconnect link" }
                p {
                    "Send this link to an administrator of the team's account at "
                    (Text(self.provider)) ". It connects one account and expires at "
                    (time(self.expires_at)) " UTC. It is shown only once."
                }
                label for="link" { "Link" }
                textarea class="field copy" id="link" rows="3" readonly { (Text(self.url)) }
                p { a href=(Text(self.back)) { "Back to the connection" } }
            }
        };
        ConsolePage {
            title: "Reconnect link".to_owned(),
            section: Some(Section::Connections),
            content,
            live: None,
        }
    }
}
