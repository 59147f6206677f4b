//! Lists and objects of issues, pull requests, comments and reviews.

use axum::http::StatusCode;
use bytes::Bytes;
use serde_json::Value;

use super::ResourceRequest;
use crate::clock::parse_iso;
use crate::github::render;
use crate::github::reply::Reply;
use crate::github::world::{Issue, Order, Sort};

pub(super) type ReplyResult = Result<Reply, Reply>;

impl ResourceRequest<'_> {
    /// Dispatches a path below the repository.
    pub(crate) fn dispatch(&self, parts: &[&str]) -> ReplyResult {
        match parts {
            [] => Ok(Reply::ok(&render::full_repository(
                self.world,
                self.repository,
            ))),
            ["issues"] => self.require("issues")?.issues(),
            ["issues", "comments"] => self.require("issues")?.comments(None),
            ["issues", number] => self.require("issues")?.issue(number),
            ["issues", number, "comments"] => self.require("issues")?.comments(Some(number)),
            ["pulls"] => Ok(self.require("pull_requests")?.pulls()),
            ["pulls", "comments"] => self.require("pull_requests")?.review_comments(None),
            ["pulls", number] => self.require("pull_requests")?.pull(number),
            ["pulls", number, "comments"] => {
                self.require("pull_requests")?.review_comments(Some(number))
            }
            ["pulls", number, "reviews"] => self.require("pull_requests")?.reviews(number),
            ["releases"] => Ok(self.require("contents")?.releases()),
            ["releases", id] => self.require("contents")?.release(id),
            ["actions", "runs"] => self.require("actions")?.runs(),
            ["actions", "runs", id] => self.require("actions")?.run(id),
            ["stargazers"] => Ok(self.stargazers()),
            ["commits"] => self.require("contents")?.commits(),
            ["commits", sha] => self.require("contents")?.commit(sha),
            ["branches"] => Ok(self.require("contents")?.references(true)),
            ["tags"] => Ok(self.require("contents")?.references(false)),
            ["milestones"] => Ok(self.require("issues")?.milestones()),
            ["deployments"] => Ok(self.require("deployments")?.deployments()),
            _ => Err(Reply::not_found()),
        }
    }

    fn require(&self, permission: &str) -> Result<&Self, Reply> {
        if self.caller.has_permission(self.world, permission) {
            Ok(self)
        } else {
            Err(Reply::not_permitted(permission))
        }
    }

    /// `sort` and `direction`; without `sort`, newest first.
    fn order(&self, default: Sort) -> Order {
        let by = match self.paging.field("sort") {
            Some("updated") => Sort::Updated,
            Some("created") => Sort::Created,
            _ => default,
        };
        Order {
            by,
            ascending: self.paging.field("direction") == Some("asc"),
        }
    }

    pub(super) fn since(&self) -> Result<Option<i64>, Reply> {
        match self.paging.field("since") {
            None => Ok(None),
            Some(text) => parse_iso(text)
                .map(Some)
                .ok_or_else(|| Reply::unprocessable("Validation Failed")),
        }
    }

    fn by_number(&self, number: &str) -> Result<&Issue, Reply> {
        let number: u32 = number.parse().map_err(|_| Reply::not_found())?;
        if let Some(issue) = self.repository.issue(number) {
            return Ok(issue);
        }
        match self.world.removed_issues.get(&(self.repository.id, number)) {
            None => Err(Reply::not_found()),
            Some(None) => Err(Reply::error(StatusCode::GONE, "This issue was deleted")),
            Some(Some((repository, number))) => {
                let url = format!(
                    "{}/repositories/{repository}/issues/{number}",
                    self.world.urls.api
                );
                Err(Reply::moved(&url))
            }
        }
    }

    fn issues(&self) -> ReplyResult {
        let state = self.paging.field("state").unwrap_or("open");
        let label = self
            .paging
            .field("labels")
            .and_then(|names| names.split(',').next());
        let label = label.and_then(|name| {
            self.repository
                .labels
                .iter()
                .find(|label| label.name == name)
        });
        let matches = |issue: &Issue| {
            (state == "all" || issue.state() == state)
                && label.is_none_or(|label| issue.labels.contains(&label.id))
        };
        let (rows, total) = self.repository.issues.page(
            self.order(Sort::Created),
            self.since()?,
            matches,
            self.paging.offset(),
            self.paging.per_page,
        );
        let shown = rows
            .iter()
            .filter(|issue| issue.pull.is_none())
            .flat_map(|issue| issue.facts.iter().copied());
        self.service.core.ledger.mark_polled(shown);
        let rows: Vec<Bytes> = rows
            .iter()
            .map(|issue| render::issue_row(self.world, self.repository, issue))
            .collect();
        Ok(self.paging.link(Reply::rows(&rows, None), total))
    }

    fn issue(&self, number: &str) -> ReplyResult {
        let issue = self.by_number(number)?;
        let mut reply = Reply::empty();
        reply.status = StatusCode::OK;
        reply.body = render::issue_row(self.world, self.repository, issue);
        Ok(reply)
    }

    fn pulls(&self) -> Reply {
        let state = self.paging.field("state").unwrap_or("open");
        let (rows, total) = self.repository.issues.page(
            self.order(Sort::Created),
            None,
            |issue| issue.pull.is_some() && (state == "all" || issue.state() == state),
            self.paging.offset(),
            self.paging.per_page,
        );
        self.service
            .core
            .ledger
            .mark_polled(rows.iter().flat_map(|issue| issue.facts.iter().copied()));
        let rows: Vec<Bytes> = rows
            .iter()
            .map(|issue| render::pull_row(self.world, self.repository, issue))
            .collect();
        self.paging.link(Reply::rows(&rows, None), total)
    }

    fn pull(&self, number: &str) -> ReplyResult {
        let issue = self.by_number(number)?;
        if issue.pull.is_none() {
            return Err(Reply::not_found());
        }
        Ok(Reply::ok(&render::pull(self.world, self.repository, issue)))
    }

    fn comments(&self, number: Option<&&str>) -> ReplyResult {
        let issue = number
            .map(|number| self.by_number(number))
            .transpose()?
            .map(|issue| issue.id);
        // An issue's comments are always oldest first; those of the repository are by default.
        let mut order = self.order(Sort::Created);
        if issue.is_some() || self.paging.field("sort").is_none() {
            order = Order {
                by: Sort::Created,
                ascending: true,
            };
        }
        let (rows, total) = self.repository.comments.page(
            order,
            self.since()?,
            |comment| issue.is_none_or(|issue| issue == comment.issue),
            self.paging.offset(),
            self.paging.per_page,
        );
        self.service.core.ledger.mark_polled(
            rows.iter()
                .flat_map(|comment| comment.facts.iter().copied()),
        );
        let rows: Vec<Bytes> = rows
            .iter()
            .filter_map(|comment| {
                let issue = self.repository.issues.get(comment.issue)?;
                let render = || {
                    Bytes::from(
                        render::comment(self.world, self.repository, issue, comment).to_string(),
                    )
                };
                Some(comment.rendered.get_or_init(render).clone())
            })
            .collect();
        Ok(self.paging.link(Reply::rows(&rows, None), total))
    }

    fn review_comments(&self, number: Option<&&str>) -> ReplyResult {
        let issue = number
            .map(|number| self.by_number(number))
            .transpose()?
            .map(|issue| issue.id);
        let mut order = self.order(Sort::Created);
        if self.paging.field("direction").is_none() {
            order.ascending = true;
        }
        let (rows, total) = self.repository.review_comments.page(
            order,
            self.since()?,
            |comment| issue.is_none_or(|issue| issue == comment.issue),
            self.paging.offset(),
            self.paging.per_page,
        );
        self.service.core.ledger.mark_polled(
            rows.iter()
                .flat_map(|comment| comment.facts.iter().copied()),
        );
        let rows: Vec<Bytes> = rows
            .iter()
            .filter_map(|comment| {
                let issue = self.repository.issues.get(comment.issue)?;
                let render = || {
                    Bytes::from(
                        render::review_comment(self.world, self.repository, issue, comment)
                            .to_string(),
                    )
                };
                Some(comment.rendered.get_or_init(render).clone())
            })
            .collect();
        Ok(self.paging.link(Reply::rows(&rows, None), total))
    }

    fn reviews(&self, number: &str) -> ReplyResult {
        let issue = self.by_number(number)?;
        let Some(pull) = &issue.pull else {
            return Err(Reply::not_found());
        };
        let rows: Vec<_> = pull
            .reviews
            .iter()
            .skip(self.paging.offset())
            .take(self.paging.per_page)
            .collect();
        self.service
            .core
            .ledger
            .mark_polled(rows.iter().filter_map(|review| review.fact));
        let rows: Vec<Bytes> = rows
            .into_iter()
            .map(|review| {
                Bytes::from(
                    render::review_row(self.world, self.repository, issue, review).to_string(),
                )
            })
            .collect();
        Ok(self
            .paging
            .link(Reply::rows(&rows, None), pull.reviews.len()))
    }

    fn milestones(&self) -> Reply {
        let state = self.paging.field("state").unwrap_or("open");
        let all: Vec<Value> = self
            .repository
            .milestones
            .iter()
            .filter(|entry| state == "all" || (state == "closed") == entry.closed_at.is_some())
            .map(|entry| render::milestone(self.world, self.repository, entry))
            .collect();
        self.page_of(&all)
    }

    fn deployments(&self) -> Reply {
        let all = self.repository.deployments.iter().rev();
        let all: Vec<Value> = all
            .map(|entry| render::deployment(self.world, self.repository, entry))
            .collect();
        self.page_of(&all)
    }

    fn page_of(&self, all: &[Value]) -> Reply {
        let rows = all
            .iter()
            .skip(self.paging.offset())
            .take(self.paging.per_page);
        let rows: Vec<Bytes> = rows.map(|row| Bytes::from(row.to_string())).collect();
        self.paging.link(Reply::rows(&rows, None), all.len())
    }
}
