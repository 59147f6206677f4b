//! Webhook deliveries: the list and one of them.

use maud::{Markup, html};
use shared::db::deliveries::{DeliveryOutcome, DeliverySource};
use shared::model::{ConnectionId, OperatorRole, TenantId};
use strum::VariantArray;

use super::parts::{
    Notice, connection_path, id, id_field, next_page, notice, select, state, tenant_select, time,
    time_or,
};
use super::signals::LineageView;
use crate::pages::Text;
use crate::pages::console::{ConsolePage, Section, SignedIn};
use crate::routes::deliveries::Delivery;
use crate::routes::deliveries::get::DeliveryDetail;

/// The list of deliveries of a tenant.
pub(crate) struct DeliveriesView<'a> {
    /// The tenant's id and name; `None` before one is chosen.
    pub(crate) tenant: Option<(TenantId, &'a str)>,
    pub(crate) deliveries: &'a [Delivery],
    pub(crate) next_cursor: Option<&'a str>,
    pub(crate) outcome: &'a str,
    /// The id of the connection; empty for all.
    pub(crate) connection: &'a str,
    /// The newest tenants, to choose from.
    pub(crate) tenants: &'a [(String, String)],
}

impl DeliveriesView<'_> {
    pub(crate) fn page(&self) -> ConsolePage {
        let tenant = self.tenant.map(|(id, _)| id.to_string());
        let tenant = tenant.as_deref().unwrap_or_default();
        let filter = [
            ("tenant", tenant),
            ("connection", self.connection),
            ("outcome", self.outcome),
        ];
        let content = html! {
            h1 { "Deliveries" }
            (self.filter(tenant))
            @match self.tenant {
                None => { p { "Choose a tenant, or the deliveries that match no connection." } }
                Some((id, name)) => {
                    p { "Deliveries of " bdi { b { (Text(name)) } } ", newest first." }
                    (deliveries_table(id, self.deliveries))
                }
            }
            (next_page("/console/deliveries", &filter, self.next_cursor))
        };
        ConsolePage {
            title: "Deliveries".to_owned(),
            section: Some(Section::Deliveries),
            content,
            live: None,
        }
    }

    fn filter(&self, tenant: &str) -> Markup {
        let outcomes: Vec<(&str, &str)> = DeliveryOutcome::VARIANTS
            .iter()
            .map(|outcome| (outcome.into(), outcome.into()))
            .collect();
        html! {
            form class="filter" method="get" action="/console/deliveries" role="search" {
                (tenant_select(self.tenants, tenant))
                (select("outcome", "Outcome", "any", &outcomes, self.outcome))
                (id_field("connection", "Connection's id", self.connection))
                button class="small" type="submit" { "Filter" }
            }
        }
    }
}

/// The path of a delivery's page.
fn delivery_path(tenant: TenantId, delivery: &Delivery) -> String {
    format!("/console/deliveries/{tenant}/{}", delivery.id)
}

/// A table of deliveries of a tenant.
pub(super) fn deliveries_table(tenant: TenantId, deliveries: &[Delivery]) -> Markup {
    if deliveries.is_empty() {
        return html! { p class="muted" { "None." } };
    }
    html! {
        div class="scroll" {
            table {
                thead { tr {
                    th scope="col" { "Received (UTC)" } th scope="col" { "Provider" }
                    th scope="col" { "Event" } th scope="col" { "Outcome" }
                    th scope="col" class="number" { "Signals" } th scope="col" { "Detail" }
                } }
                tbody {
                    @for delivery in deliveries {
                        tr {
                            th scope="row" {
                                a href=(delivery_path(tenant, delivery)) { (time(delivery.received_at)) }
                            }
                            td { (Text(&delivery.provider)) }
                            td { (Text(&delivery.event)) }
                            td { (state(delivery.outcome.into())) }
                            td class="number" { (delivery.signals) }
                            td { (Text(delivery.outcome_detail.as_deref().unwrap_or_default())) }
                        }
                    }
                }
            }
        }
    }
}

/// One delivery.
pub(crate) struct DeliveryView<'a> {
    pub(crate) operator: SignedIn<'a>,
    pub(crate) tenant: TenantId,
    pub(crate) detail: &'a DeliveryDetail,
    /// The body, if the form gave a reason.
    pub(crate) body: Option<&'a str>,
    pub(crate) lineage: LineageView<'a>,
    pub(crate) notice: Option<Notice>,
}

impl DeliveryView<'_> {
    pub(crate) fn page(&self) -> ConsolePage {
        let delivery = &self.detail.delivery;
        let content = html! {
            (notice(self.notice))
            h1 { "Delivery: " (Text(&delivery.event)) }
            div class="grid" { (self.facts()) (self.headers()) }
            (self.lineage.markup())
            (self.replay())
            (self.body())
        };
        ConsolePage {
            title: format!("Delivery {}", delivery.event),
            section: Some(Section::Deliveries),
            content,
            live: None,
        }
    }

    fn facts(&self) -> Markup {
        let delivery = &self.detail.delivery;
        html! {
            section class="panel" {
                h2 { "Delivery" }
                dl class="facts" {
                    dt { "Id" } dd { (id(&delivery.id.to_string())) }
                    dt { "Provider" } dd { (Text(&delivery.provider)) }
                    dt { "Connection" }
                    dd { (self.connection(delivery.connection_id)) }
                    dt { "Account" } dd { (Text(delivery.account_id.as_deref().unwrap_or("none"))) }
                    dt { "Provider's id" } dd { (Text(&delivery.dedupe_id)) }
                    dt { "Outcome" }
                    dd {
                        (state(delivery.outcome.into())) " "
                        (Text(delivery.outcome_detail.as_deref().unwrap_or_default()))
                    }
                    dt { "Signals" } dd { (delivery.signals) }
                    dt { "Received" } dd { (time(delivery.received_at)) }
                    dt { "Processed" } dd { (time_or(delivery.processed_at, "not yet")) }
                    dt { "Size" } dd { (self.detail.body_bytes) " bytes" }
                }
            }
        }
    }

    fn connection(&self, connection: Option<ConnectionId>) -> Markup {
        html! {
            @match connection {
                Some(connection) => {
                    a href=(connection_path(self.tenant, connection)) { (id(&connection.to_string())) }
                }
                None => { span class="muted" { "none matches" } }
            }
        }
    }

    fn headers(&self) -> Markup {
        let headers = self.detail.headers.as_object();
        html! {
            section class="panel" {
                h2 { "Stored headers" }
                dl class="facts" {
                    @for (name, value) in headers.into_iter().flatten() {
                        dt { (Text(name)) }
                        dd { code { (Text(value.as_str().unwrap_or("…"))) } }
                    }
                }
                p class="muted" { "Signatures are not stored." }
            }
        }
    }

    fn replay(&self) -> Markup {
        let delivery = &self.detail.delivery;
        let is_possible =
            delivery.source == DeliverySource::Webhook && self.operator.may(OperatorRole::Operator);
        html! {
            @if is_possible {
                form class="buttons" method="post"
                    action={ (delivery_path(self.tenant, delivery)) "/replay" } {
                    (self.operator.token())
                    button class="small" type="submit" { "Process again" }
                }
            }
        }
    }

    fn body(&self) -> Markup {
        if !self.operator.may(OperatorRole::Operator) {
            return html! {
                p class="muted" { "A body is shown to the roles operator and admin." }
            };
        }
        html! {
            section class="panel" {
                h2 { "Body" }
                @if let Some(body) = self.body {
                    p class="muted" { "The audit log has your reason." }
                    pre tabindex="0" { (body) }
                } @else {
                    form method="post"
                        action={ (delivery_path(self.tenant, &self.detail.delivery)) "/body" } {
                        (self.operator.token())
                        div class="inline" {
                            div {
                                label for="reason" { "Reason, for the audit log" }
                                input id="reason" name="reason" required minlength="3"
                                    maxlength="500" size="50";
                            }
                            button class="small" type="submit" { "Show the body" }
                        }
                    }
                }
            }
        }
    }
}
