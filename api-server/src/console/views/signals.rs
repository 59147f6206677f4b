//! Signals, and the lineage from a delivery over its job to its Signals.

use maud::{Markup, html};
use shared::db::lineage::{LinkedDelivery, LinkedJob, LinkedSignal};
use shared::model::TenantId;
use shared::signals::Signal;

use super::parts::{connection_path, id, id_field, next_page, select, state, tenant_select, time};
use crate::pages::Text;
use crate::pages::console::{ConsolePage, Section};

/// The Signals of a tenant, newest first.
pub(crate) struct SignalsView<'a> {
    /// The tenant's id and name; `None` before one is chosen.
    pub(crate) tenant: Option<(TenantId, &'a str)>,
    pub(crate) signals: &'a [Signal],
    pub(crate) next_cursor: Option<&'a str>,
    pub(crate) kind: &'a str,
    /// The id of the connection; empty for all.
    pub(crate) connection: &'a str,
    /// The newest tenants, to choose from.
    pub(crate) tenants: &'a [(String, String)],
    pub(crate) kinds: &'a [&'a str],
}

impl SignalsView<'_> {
    pub(crate) fn page(&self) -> ConsolePage {
        let tenant = self.tenant.map(|(id, _)| id.to_string());
        let tenant = tenant.as_deref().unwrap_or_default();
        let filter = [
            ("tenant", tenant),
            ("connection", self.connection),
            ("kind", self.kind),
        ];
        let kinds: Vec<_> = self.kinds.iter().map(|kind| (*kind, *kind)).collect();
        let content = html! {
            h1 { "Signals" }
            form class="filter" method="get" action="/console/signals" role="search" {
                (tenant_select(self.tenants, tenant))
                (select("kind", "Kind", "any", &kinds, self.kind))
                (id_field("connection", "Connection's id", self.connection))
                button class="small" type="submit" { "Filter" }
            }
            @match self.tenant {
                None => { p { "Choose a tenant." } }
                Some((_, name)) => {
                    p { "Signals of " bdi { b { (Text(name)) } } ", newest first." }
                    (signals_table(self.signals))
                }
            }
            (next_page("/console/signals", &filter, self.next_cursor))
        };
        ConsolePage {
            title: "Signals".to_owned(),
            section: Some(Section::Signals),
            content,
            live: None,
        }
    }
}

/// A table of Signals.
pub(super) fn signals_table(signals: &[Signal]) -> Markup {
    if signals.is_empty() {
        return html! { p class="muted" { "None." } };
    }
    html! {
        div class="scroll" {
            table {
                thead { tr {
                    th scope="col" { "Happened (UTC)" } th scope="col" { "Kind" }
                    th scope="col" { "Source" } th scope="col" { "Identity" }
                    th scope="col" { "Received (UTC)" }
                } }
                tbody {
                    @for signal in signals {
                        tr {
                            th scope="row" {
                                a href={ "/console/signals/" (signal.tenant_id) "/" (signal.id) } {
                                    (time(signal.timestamp))
                                }
                            }
                            td { (Text(signal.kind.as_str())) }
                            td {
                                a href=(connection_path(signal.tenant_id, signal.connection_id)) {
                                    (Text(&signal.source))
                                }
                            }
                            td { code { (Text(&signal.dedupe_key)) } }
                            td { (time(signal.received_at)) }
                        }
                    }
                }
            }
        }
    }
}

/// The way from a delivery over its job to its Signals, and back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LineageView<'a> {
    pub(crate) tenant: TenantId,
    pub(crate) deliveries: &'a [LinkedDelivery],
    pub(crate) jobs: &'a [LinkedJob],
    pub(crate) signals: &'a [LinkedSignal],
}

impl LineageView<'_> {
    pub(super) fn markup(&self) -> Markup {
        let tenant = self.tenant;
        html! {
            section class="panel" {
                h2 { "Lineage" }
                dl class="facts" {
                    dt { "Deliveries" }
                    dd {
                        @if self.deliveries.is_empty() {
                            span class="muted" { "none: a poll read it, or retention deleted it" }
                        }
                        ul {
                            @for one in self.deliveries {
                                li {
                                    a href={ "/console/deliveries/" (tenant) "/" (one.id) } {
                                        (Text(&one.event)) " " (time(one.received_at))
                                    }
                                    " " (state(one.outcome.into()))
                                }
                            }
                        }
                    }
                    dt { "Jobs" }
                    dd {
                        @if self.jobs.is_empty() {
                            span class="muted" { "none: retention deleted it" }
                        }
                        ul {
                            @for one in self.jobs {
                                li {
                                    (state(one.state.into())) " " (time(one.created_at)) " "
                                    (id(&one.id.to_string()))
                                }
                            }
                        }
                    }
                    dt { "Signals" }
                    dd {
                        @if self.signals.is_empty() { span class="muted" { "none" } }
                        ul {
                            @for one in self.signals {
                                li {
                                    a href={ "/console/signals/" (tenant) "/" (one.id) } {
                                        (Text(&one.kind))
                                    }
                                    " " code { (Text(&one.dedupe_key)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// The page of one Signal with its lineage.
    pub(crate) fn signal_page(&self, signal: &Signal) -> ConsolePage {
        let content = html! {
            h1 { "Signal: " (Text(signal.kind.as_str())) }
            section class="panel" {
                dl class="facts" {
                    dt { "Id" } dd { (id(&signal.id.to_string())) }
                    dt { "Identity" } dd { code { (Text(&signal.dedupe_key)) } }
                    dt { "Connection" }
                    dd {
                        a href=(connection_path(signal.tenant_id, signal.connection_id)) {
                            (id(&signal.connection_id.to_string()))
                        }
                    }
                    dt { "Happened" } dd { (time(signal.timestamp)) }
                    dt { "Received" } dd { (time(signal.received_at)) }
                    dt { "Actor" } dd { code { (Text(signal.actor.get())) } }
                    dt { "Subject" } dd { code { (Text(signal.subject.get())) } }
                    dt { "Context" } dd { code { (Text(signal.context.get())) } }
                    dt { "Payload" } dd { code { (Text(signal.payload.normalized.get())) } }
                }
            }
            (self.markup())
        };
        ConsolePage {
            title: format!("Signal {}", signal.kind.as_str()),
            section: Some(Section::Signals),
            content,
            live: None,
        }
    }
}
