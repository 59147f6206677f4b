//! The home page: what needs attention, the queue, the feed and the deliveries.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::parts::{state, time, with_query};
use crate::pages::Text;
use crate::pages::console::{ConsolePage, Section};
use crate::routes::overview::get::Overview;

/// The height of the chart in its own units.
const CHART_HEIGHT: u32 = 100;
/// The width of a bar and of the gap after it.
const BAR: (usize, usize) = (8, 2);
/// The age of the oldest due job, in seconds, from which the page warns.
const OLD_JOB_SECONDS: f64 = 60.0;
/// The lag of the feed, in seconds, from which the page warns.
const FEED_LAG_SECONDS: f64 = 30.0;

/// Webhook requests of an hour, in the last 24 hours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct HourlyRequests {
    pub(crate) hour: DateTime<Utc>,
    /// The mean number of requests per minute.
    pub(crate) per_minute: f64,
}

/// The home page.
pub(crate) struct HomeView<'a> {
    pub(crate) overview: &'a Overview,
    pub(crate) hourly: &'a [HourlyRequests],
}

impl HomeView<'_> {
    pub(crate) fn page(&self) -> ConsolePage {
        ConsolePage {
            title: "Home".to_owned(),
            section: Some(Section::Home),
            content: html! { div data-live-part { (self.live_part()) } },
            live: Some("/console/live/home".to_owned()),
        }
    }

    /// The part that live updates replace.
    pub(crate) fn live_part(&self) -> Markup {
        let connections = &self.overview.connections;
        html! {
            h1 { (self.sentence()) }
            p class="muted" { "As of " (time(self.overview.at)) " UTC" }
            (counts(&connections.by_health, ""))
            div class="grid" {
                (self.queue())
                (self.providers())
                (self.deliveries())
            }
            (self.results())
        }
    }

    /// One sentence about all connections.
    fn sentence(&self) -> String {
        let connections = &self.overview.connections;
        let ended = connections.by_health.get("disconnected").copied();
        let total = connections.total - ended.unwrap_or(0);
        match (connections.need_attention, total) {
            (_, 0) => "No account is connected.".to_owned(),
            (0, 1) => "The only connection needs no attention.".to_owned(),
            (0, total) => format!("None of {total} connections needs attention."),
            (1, total) => format!("1 of {total} connections needs attention."),
            (count, total) => format!("{count} of {total} connections need attention."),
        }
    }

    fn queue(&self) -> Markup {
        let queue = &self.overview.queue;
        let lag = self.overview.feed.lag_seconds;
        let jobs = |state: &str| with_query("/console/jobs", &[("state", state)]);
        html! {
            section class="panel" {
                h2 { "Queue and feed" }
                dl class="facts" {
                    dt { "Oldest due job" }
                    dd {
                        @if queue.oldest_seconds >= OLD_JOB_SECONDS { (state("failing")) " " }
                        (format!("{:.1} s", queue.oldest_seconds))
                    }
                    dt { "Queued" }
                    dd {
                        a href=(jobs("queued")) { (queue.due) " due, " (queue.scheduled) " later" }
                    }
                    dt { "Running" } dd { a href=(jobs("running")) { (queue.running) } }
                    dt { "Dead" } dd { a href=(jobs("dead")) { (queue.dead) } }
                    dt { "Workers" }
                    dd {
                        @if queue.workers == 0 { (state("failing")) " none is running" }
                        @else { (queue.workers) }
                    }
                    dt { "Feed lag" }
                    dd {
                        @match lag {
                            Some(lag) => {
                                @if lag >= FEED_LAG_SECONDS { (state("failing")) " " }
                                (format!("{lag:.1} s"))
                            }
                            None => { span class="muted" { "not measured" } }
                        }
                    }
                }
            }
        }
    }

    fn providers(&self) -> Markup {
        html! {
            section class="panel" {
                h2 { "Providers" }
                @if self.overview.connections.by_provider.is_empty() {
                    p class="muted" { "No account is connected." }
                }
                @for provider in &self.overview.connections.by_provider {
                    h3 { (Text(&provider.provider)) }
                    (counts(&provider.by_health, &provider.provider))
                }
            }
        }
    }

    fn deliveries(&self) -> Markup {
        let last = self.hourly.last().map_or(0.0, |last| last.per_minute);
        let most = self
            .hourly
            .iter()
            .map(|one| one.per_minute)
            .fold(0.0, f64::max);
        html! {
            section class="panel" {
                h2 { "Deliveries per minute" }
                p {
                    b { (format!("{last:.1}")) } " in this hour, at most "
                    b { (format!("{most:.1}")) } " in an hour of the last 24."
                }
                (chart(self.hourly, most))
                details {
                    summary { "The numbers of the chart" }
                    div class="scroll" {
                        table {
                            thead { tr {
                                th scope="col" { "Hour (UTC)" }
                                th scope="col" class="number" { "Per minute" }
                            } }
                            tbody {
                                @for one in self.hourly.iter().rev() {
                                    tr {
                                        th scope="row" { (one.hour.format("%m-%d %H:%M").to_string()) }
                                        td class="number" { (format!("{:.1}", one.per_minute)) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn results(&self) -> Markup {
        html! {
            section class="panel" {
                h2 { "Webhook requests of the last 24 hours" }
                @if self.overview.deliveries.is_empty() {
                    p class="muted" { "None was received." }
                } @else {
                    div class="scroll" {
                        table {
                            thead { tr {
                                th scope="col" { "Provider" } th scope="col" { "Result" }
                                th scope="col" class="number" { "Requests" }
                                th scope="col" { "Last (UTC)" }
                            } }
                            tbody {
                                @for one in &self.overview.deliveries {
                                    tr {
                                        td { (Text(&one.provider)) }
                                        td { (Text(&one.result.replace('_', " "))) }
                                        td class="number" { (one.requests) }
                                        td { (time(one.last_at)) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The numbers of connections by health, as links to their lists.
fn counts(by_health: &BTreeMap<String, i64>, provider: &str) -> Markup {
    html! {
        ul class="rail" {
            @for (health, count) in by_health {
                @if *count > 0 || provider.is_empty() {
                    li {
                        a href=(Text(&with_query(
                            "/console/connections",
                            &[("health", health), ("provider", provider)],
                        ))) { (state(health)) " " b { (count) } }
                    }
                }
            }
        }
    }
}

/// A bar per hour. The text and the table beside it have its numbers.
fn chart(hourly: &[HourlyRequests], most: f64) -> Markup {
    let step = BAR.0 + BAR.1;
    let height = |per_minute: f64| {
        if most > 0.0 {
            (per_minute / most * f64::from(CHART_HEIGHT)).max(1.0)
        } else {
            1.0
        }
    };
    html! {
        svg class="chart" viewBox={ "0 0 " (hourly.len().max(1) * step) " " (CHART_HEIGHT) }
            preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            @for (index, one) in hourly.iter().enumerate() {
                @let height = height(one.per_minute);
                rect x=(index * step) width=(BAR.0)
                    y=(format!("{:.1}", f64::from(CHART_HEIGHT) - height)) height=(format!("{height:.1}")) {}
            }
        }
    }
}
