//! The list of jobs.

use maud::{Markup, html};
use shared::model::{JobKind, JobState, OperatorRole, TenantId};

use super::parts::{
    Notice, connection_path, error, id, next_page, notice, state, time, time_or, with_query,
};
use crate::pages::console::{ConsolePage, Section, SignedIn};
use crate::pages::{Text, hidden};
use crate::routes::jobs::Job;

/// A job and its tenant.
pub(crate) struct JobRow {
    pub(crate) tenant: TenantId,
    pub(crate) job: Job,
}

/// The list of jobs.
pub(crate) struct JobsView<'a> {
    pub(crate) operator: SignedIn<'a>,
    pub(crate) rows: &'a [JobRow],
    pub(crate) next_cursor: Option<&'a str>,
    /// The number of jobs by state, over all tenants, where it is counted.
    pub(crate) counts: &'a [(JobState, i64)],
    /// The listed state.
    pub(crate) state: JobState,
    /// The id of the tenant; empty for all.
    pub(crate) tenant: &'a str,
    /// The id of the connection; empty for all.
    pub(crate) connection: &'a str,
    pub(crate) notice: Option<Notice>,
}

impl JobsView<'_> {
    pub(crate) fn page(&self) -> ConsolePage {
        let pairs = self.pairs(self.state);
        let live = with_query("/console/live/jobs", &pairs);
        let content = html! {
            (notice(self.notice))
            h1 { "Jobs" }
            div data-live-part { (self.live_part()) }
            (next_page("/console/jobs", &pairs, self.next_cursor))
        };
        ConsolePage {
            title: "Jobs".to_owned(),
            section: Some(Section::Jobs),
            content,
            live: Some(live),
        }
    }

    /// The part that live updates replace.
    pub(crate) fn live_part(&self) -> Markup {
        html! {
            (self.rail())
            @if !self.tenant.is_empty() {
                p {
                    "Jobs of tenant " (id(self.tenant))
                    @if !self.connection.is_empty() { ", connection " (id(self.connection)) }
                    ". " a href=(with_query("/console/jobs", &[("state", self.state.into())])) {
                        "Show all tenants"
                    }
                }
            }
            @if self.rows.is_empty() { p { "No job is " (state_name(self.state)) "." } }
            @else { (jobs_table(self.operator, self.rows, true)) }
        }
    }

    fn pairs(&self, state: JobState) -> [(&'static str, &str); 3] {
        [
            ("state", state.into()),
            ("tenant", self.tenant),
            ("connection", self.connection),
        ]
    }

    /// The states with their counts. Jobs that ended well are listed per tenant only.
    fn rail(&self) -> Markup {
        let states: &[JobState] = if self.tenant.is_empty() {
            &[JobState::Queued, JobState::Running, JobState::Dead]
        } else {
            &[
                JobState::Queued,
                JobState::Running,
                JobState::Dead,
                JobState::Succeeded,
                JobState::Cancelled,
            ]
        };
        html! {
            nav aria-label="States of jobs" {
                ul class="rail" {
                    @for listed in states {
                        @let count = self.counts.iter().find(|(of, _)| of == listed);
                        li {
                            a href=(with_query("/console/jobs", &self.pairs(*listed)))
                                aria-current=[(*listed == self.state).then_some("page")] {
                                (state((*listed).into()))
                                @if let Some((_, count)) = count { " " b { (count) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn state_name(state: JobState) -> &'static str {
    state.into()
}

/// A table of jobs; `shows_connection` adds links to their connections.
pub(super) fn jobs_table(
    operator: SignedIn<'_>,
    rows: &[JobRow],
    shows_connection: bool,
) -> Markup {
    if rows.is_empty() {
        return html! { p class="muted" { "None." } };
    }
    html! {
        div class="scroll" {
            table {
                thead { tr {
                    th scope="col" { "Kind" } th scope="col" { "State" }
                    th scope="col" class="number" { "Attempts" }
                    th scope="col" { "Created (UTC)" } th scope="col" { "Next run (UTC)" }
                    th scope="col" { "Error" }
                    @if shows_connection { th scope="col" { "Connection" } }
                    th scope="col" { "Actions" }
                } }
                tbody { @for row in rows { (job_row(operator, row, shows_connection)) } }
            }
        }
    }
}

fn job_row(operator: SignedIn<'_>, row: &JobRow, shows_connection: bool) -> Markup {
    let job = &row.job;
    let kind: JobKind = job.kind;
    let name: &'static str = kind.into();
    html! {
        tr {
            th scope="row" { (name.replace('_', " ")) br; (id(&job.id.to_string())) }
            td { (state(job.state.into())) }
            td class="number" { (job.attempts) " of " (job.max_attempts) }
            td { (time(job.created_at)) }
            td { (time_or(job.next_run_at, "–")) }
            td { @if let Some(failure) = &job.error { (error(failure)) } }
            @if shows_connection {
                td {
                    @match job.connection_id {
                        Some(connection) => {
                            a href=(connection_path(row.tenant, connection)) { (Text(&job.provider)) }
                        }
                        None => { (Text(&job.provider)) }
                    }
                }
            }
            td { (actions(operator, row)) }
        }
    }
}

fn actions(operator: SignedIn<'_>, row: &JobRow) -> Markup {
    let path = format!("/console/jobs/{}/{}", row.tenant, row.job.id);
    let form = |action: &str, label: &str| {
        html! {
            form method="post" action={ (path) "/" (action) } {
                (operator.token())
                @if let Some(connection) = row.job.connection_id {
                    (hidden("connection", &connection.to_string()))
                }
                button class="small" type="submit" { (label) }
            }
        }
    };
    html! {
        @if operator.may(OperatorRole::Operator) {
            @match row.job.state {
                JobState::Dead => { (form("retry", "Retry")) }
                JobState::Queued | JobState::Running => {
                    @if row.job.cancel_requested { span class="muted" { "stopping" } }
                    @else { (form("cancel", "Cancel")) }
                }
                JobState::Succeeded | JobState::Cancelled => {}
            }
        }
    }
}
