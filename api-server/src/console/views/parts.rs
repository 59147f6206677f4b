//! Parts that several pages of the console have.

use chrono::{DateTime, SecondsFormat, Utc};
use maud::{Markup, html};
use shared::model::{ConnectionId, JobError, TenantId};
use url::form_urlencoded;

use crate::pages::Text;

/// The outcome of the form that led to a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Notice {
    SyncRequested,
    Paused,
    Resumed,
    Disconnected,
    JobRetried,
    JobCancelled,
    DeliveryReplayed,
    TenantCreated,
    KeyRevoked,
}

impl Notice {
    const fn text(self) -> &'static str {
        match self {
            Self::SyncRequested => "The sync is queued.",
            Self::Paused => "The connection is paused. Deliveries are still received.",
            Self::Resumed => "The connection is active again.",
            Self::Disconnected => "The connection is disconnected.",
            Self::JobRetried => "A new job is queued.",
            Self::JobCancelled => "The job is cancelled, or is asked to stop if it is running.",
            Self::DeliveryReplayed => "The delivery is queued to be processed again.",
            Self::TenantCreated => "The tenant is created.",
            Self::KeyRevoked => "The key is revoked.",
        }
    }
}

/// The outcome of the form before, for people who see and who hear the page.
pub(super) fn notice(notice: Option<Notice>) -> Markup {
    html! {
        @if let Some(notice) = notice {
            p class="notice" role="status" { (notice.text()) }
        }
    }
}

/// A time in UTC, to the second.
pub(super) fn time(at: DateTime<Utc>) -> Markup {
    html! {
        time datetime=(at.to_rfc3339_opts(SecondsFormat::Secs, true)) {
            (at.format("%Y-%m-%d %H:%M:%S").to_string())
        }
    }
}

/// A time, or a word for its absence.
pub(super) fn time_or(at: Option<DateTime<Utc>>, absent: &str) -> Markup {
    at.map_or_else(|| html! { span class="muted" { (absent) } }, time)
}

/// The name of a state, coloured by its class.
pub(super) fn state(name: &str) -> Markup {
    html! { span class={ "state " (name) } { (name.replace('_', " ")) } }
}

/// A text that people rarely read whole: the end of an id is what differs.
pub(super) fn id(text: &str) -> Markup {
    html! { span class="id" { (Text(text)) } }
}

/// An error with its code.
pub(super) fn error(error: &JobError) -> Markup {
    html! {
        code { (Text(&error.code)) } " " (Text(&error.message))
        @if let Some(operation) = &error.operation { " (call " code { (Text(operation)) } ")" }
        @if let Some(at) = error.retry_at { " Next attempt after " (time(at)) "." }
    }
}

/// The path of a connection's page.
pub(super) fn connection_path(tenant: TenantId, connection: ConnectionId) -> String {
    format!("/console/connections/{tenant}/{connection}")
}

/// A path with a query of the pairs that have a value.
pub(super) fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    let query = query.finish();
    if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    }
}

/// The link to the next page of a list.
pub(super) fn next_page(path: &str, pairs: &[(&str, &str)], cursor: Option<&str>) -> Markup {
    let Some(cursor) = cursor else {
        return html! {};
    };
    let mut pairs = pairs.to_vec();
    pairs.push(("cursor", cursor));
    html! {
        p { a rel="next" href=(Text(&with_query(path, &pairs))) { "Older entries" } }
    }
}

/// The select of a tenant among the newest ones.
pub(super) fn tenant_select(tenants: &[(String, String)], selected: &str) -> Markup {
    let tenants: Vec<(&str, &str)> = tenants
        .iter()
        .map(|(id, name)| (id.as_str(), name.as_str()))
        .collect();
    select("tenant", "Tenant", "choose", &tenants, selected)
}

/// The field of a filter for an id.
pub(super) fn id_field(name: &str, label: &str, value: &str) -> Markup {
    html! {
        div {
            label for={ "filter-" (name) } { (label) }
            input id={ "filter-" (name) } name=(name) size="36" maxlength="36" value=(Text(value));
        }
    }
}

/// A select of a filter: the options, and the first one for all.
pub(super) fn select(
    name: &str,
    label: &str,
    all: &str,
    options: &[(&str, &str)],
    selected: &str,
) -> Markup {
    html! {
        div {
            label for={ "filter-" (name) } { (label) }
            select id={ "filter-" (name) } name=(name) {
                option value="" { (all) }
                @for (value, text) in options {
                    option value=(Text(value)) selected[*value == selected] { (Text(text)) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_values_are_not_in_the_query() {
        assert_eq!(with_query("/a", &[("b", ""), ("c", "")]), "/a");
        assert_eq!(with_query("/a", &[("b", "1 &"), ("c", "")]), "/a?b=1+%26");
    }

    #[test]
    fn notices_are_parsed_by_name() {
        assert_eq!("job_retried".parse(), Ok(Notice::JobRetried));
        assert!("other".parse::<Notice>().is_err());
    }
}
