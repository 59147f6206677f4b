//! The audit log.

use maud::{Markup, html};

use super::parts::{id, next_page, time};
use crate::pages::Text;
use crate::pages::console::{ConsolePage, Section};
use crate::routes::audit_log::{AuditLogActor, AuditLogEntry};

/// The audit log.
pub(crate) struct AuditLogView<'a> {
    pub(crate) entries: &'a [AuditLogEntry],
    pub(crate) next_cursor: Option<&'a str>,
    pub(crate) action: &'a str,
    /// The id of the tenant; empty for all.
    pub(crate) tenant: &'a str,
    /// The id of the changed object; empty for all.
    pub(crate) target: &'a str,
}

impl AuditLogView<'_> {
    pub(crate) fn page(&self) -> ConsolePage {
        let filter = [
            ("action", self.action),
            ("tenant", self.tenant),
            ("target", self.target),
        ];
        let content = html! {
            h1 { "Audit log" }
            form class="filter" method="get" action="/console/audit-log" role="search" {
                (field("action", "Action", self.action, "connection.paused"))
                (field("tenant", "Tenant's id", self.tenant, ""))
                (field("target", "Object's id", self.target, ""))
                button class="small" type="submit" { "Filter" }
            }
            (entries_table(self.entries))
            (next_page("/console/audit-log", &filter, self.next_cursor))
        };
        ConsolePage {
            title: "Audit log".to_owned(),
            section: Some(Section::AuditLog),
            content,
            live: None,
        }
    }
}

fn field(name: &str, label: &str, value: &str, example: &str) -> Markup {
    html! {
        div {
            label for={ "filter-" (name) } { (label) }
            input id={ "filter-" (name) } name=(name) value=(Text(value)) size="36"
                maxlength="101" placeholder=[(!example.is_empty()).then_some(example)];
        }
    }
}

/// A table of entries.
pub(super) fn entries_table(entries: &[AuditLogEntry]) -> Markup {
    if entries.is_empty() {
        return html! { p class="muted" { "None." } };
    }
    html! {
        div class="scroll" {
            table {
                thead { tr {
                    th scope="col" { "Time (UTC)" } th scope="col" { "Actor" }
                    th scope="col" { "Action" } th scope="col" { "Object" }
                    th scope="col" { "Detail" }
                } }
                tbody {
                    @for entry in entries {
                        tr {
                            th scope="row" { (time(entry.at)) }
                            td { (actor(&entry.actor)) }
                            td { code { (Text(&entry.action)) } }
                            td { (id(entry.target.as_deref().unwrap_or_default())) }
                            td { (detail(&entry.detail)) }
                        }
                    }
                }
            }
        }
    }
}

fn actor(actor: &AuditLogActor) -> Markup {
    html! {
        @match (&actor.name, actor.id) {
            (Some(name), _) => { bdi { (Text(name)) } }
            (None, Some(key)) => { (Text(&actor.kind.replace('_', " "))) " " (id(&key.to_string())) }
            (None, None) => { (Text(&actor.kind)) }
        }
    }
}

/// The details as `name: value`, without the quotes of JSON.
fn detail(detail: &serde_json::Value) -> Markup {
    html! {
        @for (index, (name, value)) in detail.as_object().into_iter().flatten().enumerate() {
            @if index > 0 { ", " }
            (Text(&name.replace('_', " "))) ": "
            @match value.as_str() {
                Some(text) => { (Text(text)) }
                None => { (Text(&value.to_string())) }
            }
        }
    }
}
