//! The page that shows a problem.

use maud::html;
use shared::problem::Problem;

use super::ConsolePage;
use crate::pages::components::Text;

/// A problem for people.
#[derive(Debug)]
pub(crate) struct ProblemView<'a> {
    pub(crate) problem: &'a Problem,
    /// The id of the request, which the log has.
    pub(crate) request: Option<&'a str>,
}

impl ProblemView<'_> {
    pub(super) fn page(&self) -> ConsolePage {
        let title = match self.problem.status {
            403 => "Not allowed",
            404 => "Not found",
            409 => "Not possible now",
            429 => "Too many requests",
            status if status < 500 => "Not accepted",
            _ => "Failed",
        };
        let content = html! {
            div class="panel" {
                h1 { (title) }
                p role="alert" { (Text(&self.problem.message)) }
                @if let Some(seconds) = self.problem.retry_after {
                    p { "Try again in " (seconds) " seconds." }
                }
                p { a href="/console" { "To the console's home page" } }
                details {
                    summary { "Details for a report" }
                    dl class="facts" {
                        dt { "Code" } dd { code { (self.problem.code) } }
                        @if let Some(request) = self.request {
                            dt { "Request" } dd { code { (Text(request)) } }
                        }
                    }
                }
            }
        };
        ConsolePage {
            title: title.to_owned(),
            section: None,
            content,
            live: None,
        }
    }
}
