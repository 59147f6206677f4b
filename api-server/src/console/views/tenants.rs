//! Tenants and their API keys.

use maud::{Markup, html};
use shared::model::OperatorRole;

use super::parts::{Notice, id, next_page, notice, time, time_or, with_query};
use crate::pages::Text;
use crate::pages::console::{ConsolePage, Section, SignedIn};
use crate::routes::api_keys::ApiKey;
use crate::routes::tenants::Tenant;

/// The list of tenants.
pub(crate) struct TenantsView<'a> {
    pub(crate) operator: SignedIn<'a>,
    pub(crate) tenants: &'a [Tenant],
    pub(crate) next_cursor: Option<&'a str>,
}

impl TenantsView<'_> {
    pub(crate) fn page(&self) -> ConsolePage {
        let content = html! {
            h1 { "Tenants" }
            @if self.operator.may(OperatorRole::Admin) {
                form class="panel inline" method="post" action="/console/tenants" {
                    (self.operator.token())
                    div {
                        label for="name" { "New tenant's name" }
                        input id="name" name="name" required maxlength="200" size="40";
                    }
                    button class="small" type="submit" { "Create" }
                }
            }
            @if self.tenants.is_empty() { p { "There is no tenant." } } @else { (self.table()) }
            (next_page("/console/tenants", &[], self.next_cursor))
        };
        ConsolePage {
            title: "Tenants".to_owned(),
            section: Some(Section::Tenants),
            content,
            live: None,
        }
    }

    fn table(&self) -> Markup {
        html! {
            div class="scroll" {
                table {
                    thead { tr {
                        th scope="col" { "Name" } th scope="col" { "Created (UTC)" }
                        th scope="col" { "Id" }
                    } }
                    tbody {
                        @for tenant in self.tenants {
                            tr {
                                th scope="row" {
                                    a href={ "/console/tenants/" (tenant.id) } {
                                        bdi { (Text(&tenant.name)) }
                                    }
                                }
                                td { (time(tenant.created_at)) }
                                td { (id(&tenant.id.to_string())) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// One tenant and its keys.
pub(crate) struct TenantView<'a> {
    pub(crate) operator: SignedIn<'a>,
    pub(crate) tenant: &'a Tenant,
    pub(crate) keys: &'a [ApiKey],
    pub(crate) next_cursor: Option<&'a str>,
    /// The names of all scopes.
    pub(crate) scopes: &'a [&'a str],
    pub(crate) notice: Option<Notice>,
}

impl TenantView<'_> {
    pub(crate) fn page(&self) -> ConsolePage {
        let own = self.tenant.id.to_string();
        let path = format!("/console/tenants/{own}");
        let of_tenant = [("tenant", own.as_str())];
        let content = html! {
            (notice(self.notice))
            h1 { bdi { (Text(&self.tenant.name)) } }
            ul class="rail" {
                @for (label, list) in [
                    ("Connections", "/console/connections"),
                    ("Jobs", "/console/jobs"),
                    ("Deliveries", "/console/deliveries"),
                    ("Signals", "/console/signals"),
                    ("Audit log", "/console/audit-log"),
                ] {
                    li { a href=(with_query(list, &of_tenant)) { (label) } }
                }
            }
            dl class="facts" {
                dt { "Id" } dd { (id(&own)) }
                dt { "Created" } dd { (time(self.tenant.created_at)) }
            }
            section class="panel" {
                h2 { "API keys" }
                @if self.keys.is_empty() { p class="muted" { "None." } }
                @else { (self.table(&path)) }
                (next_page(&path, &[], self.next_cursor))
            }
            @if self.operator.may(OperatorRole::Admin) { (self.new_key(&path)) }
        };
        ConsolePage {
            title: self.tenant.name.clone(),
            section: Some(Section::Tenants),
            content,
            live: None,
        }
    }

    fn table(&self, path: &str) -> Markup {
        html! {
            div class="scroll" {
                table {
                    thead { tr {
                        th scope="col" { "Name" } th scope="col" { "Begins with" }
                        th scope="col" { "Scopes" } th scope="col" { "Expires (UTC)" }
                        th scope="col" { "Last used (UTC)" } th scope="col" { "State" }
                    } }
                    tbody { @for key in self.keys { (self.key(path, key)) } }
                }
            }
        }
    }

    fn key(&self, path: &str, key: &ApiKey) -> Markup {
        let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
        html! {
            tr {
                th scope="row" { bdi { (Text(&key.name)) } }
                td { code { (Text(&key.hint)) } }
                td { (scopes.join(", ")) }
                td { (time_or(key.expires_at, "never")) }
                td { (time_or(key.last_used_at, "never")) }
                td {
                    @if let Some(at) = key.revoked_at { "revoked " (time(at)) }
                    @else if self.operator.may(OperatorRole::Admin) {
                        form method="post" action={ (path) "/keys/" (key.id) "/revoke" } {
                            (self.operator.token())
                            button class="small danger" type="submit"
                                aria-label={ "Revoke the key " (Text(&key.name)) } { "Revoke" }
                        }
                    } @else { "active" }
                }
            }
        }
    }

    fn new_key(&self, path: &str) -> Markup {
        html! {
            form class="panel" method="post" action={ (path) "/keys" } {
                h2 { "New key" }
                (self.operator.token())
                label for="name" { "Name" }
                input class="field" id="name" name="name" required maxlength="200";
                fieldset {
                    legend { "Scopes" }
                    @for scope in self.scopes {
                        label {
                            input type="checkbox" name="scope" value=(scope) checked; " " (scope)
                        }
                    }
                }
                label for="days" { "Days until it expires; empty for never" }
                input class="field" id="days" name="expires_in_days" type="number" min="1" max="3650";
                div class="actions" { button class="button" type="submit" { "Create the key" } }
            }
        }
    }
}

/// A new key, shown once.
pub(crate) struct NewKeyView<'a> {
    pub(crate) name: &'a str,
    pub(crate) key: &'a str,
    /// The path of the tenant's page.
    pub(crate) back: &'a str,
}

impl NewKeyView<'_> {
    pub(crate) fn page(&self) -> ConsolePage {
        let content = html! {
            div class="panel" {
                h1 { "The key " bdi { (Text(self.name)) } " is created" }
                p { "Copy it now: it is shown only once." }
                label for="key" { "Key" }
                textarea class="field copy" id="key" rows="2" readonly { (Text(self.key)) }
                p { a href=(Text(self.back)) { "Back to the tenant" } }
            }
        };
        ConsolePage {
            title: "New key".to_owned(),
            section: Some(Section::Tenants),
            content,
            live: None,
        }
    }
}
