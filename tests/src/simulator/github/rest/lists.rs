//! What is in a repository: lists and single objects.

use axum::http::{StatusCode, header};
use bytes::Bytes;
use serde_json::{Value, json};

use super::Ask;
use crate::simulator::clock::{iso, parse_iso};
use crate::simulator::github::render;
use crate::simulator::github::reply::Reply;
use crate::simulator::github::world::{Issue, Order, Release, Run, Sort};

/// Results that a filtered query of workflow runs gives at most.
const MOST_RUNS: usize = 1_000;

type Answer = Result<Reply, Reply>;

impl Ask<'_> {
    /// Finds the list or object behind a path below the repository.
    pub(crate) fn dispatch(&self, parts: &[&str]) -> Answer {
        match parts {
            [] => Ok(Reply::ok(&render::full_repository(
                self.world,
                self.repository,
            ))),
            ["issues"] => self.needs("issues")?.issues(),
            ["issues", "comments"] => self.needs("issues")?.comments(None),
            ["issues", number] => self.needs("issues")?.issue(number),
            ["issues", number, "comments"] => self.needs("issues")?.comments(Some(number)),
            ["pulls"] => self.needs("pull_requests")?.pulls(),
            ["pulls", "comments"] => self.needs("pull_requests")?.review_comments(None),
            ["pulls", number] => self.needs("pull_requests")?.pull(number),
            ["pulls", number, "comments"] => {
                self.needs("pull_requests")?.review_comments(Some(number))
            }
            ["pulls", number, "reviews"] => self.needs("pull_requests")?.reviews(number),
            ["releases"] => self.needs("contents")?.releases(),
            ["releases", id] => self.needs("contents")?.release(id),
            ["actions", "runs"] => self.needs("actions")?.runs(),
            ["actions", "runs", id] => self.needs("actions")?.run(id),
            ["stargazers"] => self.stargazers(),
            ["commits"] => self.needs("contents")?.commits(),
            ["commits", sha] => self.needs("contents")?.commit(sha),
            ["branches"] => self.needs("contents")?.references(true),
            ["tags"] => self.needs("contents")?.references(false),
            ["milestones"] => self.needs("issues")?.milestones(),
            ["deployments"] => self.needs("deployments")?.deployments(),
            _ => Err(Reply::not_found()),
        }
    }

    fn needs(&self, permission: &str) -> Result<&Self, Reply> {
        if self.caller.may(self.world, permission) {
            Ok(self)
        } else {
            Err(Reply::not_permitted(permission))
        }
    }

    /// `sort` and `direction`; without `sort`, newest first.
    fn order(&self, otherwise: Sort) -> Order {
        let by = match self.paging.field("sort") {
            Some("updated") => Sort::Updated,
            Some("created") => Sort::Created,
            _ => otherwise,
        };
        Order {
            by,
            ascending: self.paging.field("direction") == Some("asc"),
        }
    }

    fn since(&self) -> Result<Option<i64>, Reply> {
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
        match self.world.gone.get(&(self.repository.id, number)) {
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

    fn issues(&self) -> Answer {
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
        let fits = |issue: &Issue| {
            (state == "all" || issue.state() == state)
                && label.is_none_or(|label| issue.labels.contains(&label.id))
        };
        let (rows, total) = self.repository.issues.page(
            self.order(Sort::Created),
            self.since()?,
            fits,
            self.paging.offset(),
            self.paging.per_page,
        );
        let shown = rows
            .iter()
            .filter(|issue| issue.pull.is_none())
            .flat_map(|issue| issue.facts.iter().copied());
        self.hub.core.ledger.mark_polled(shown);
        let rows: Vec<Bytes> = rows
            .iter()
            .map(|issue| render::issue_row(self.world, self.repository, issue))
            .collect();
        Ok(self.paging.link(Reply::rows(&rows, None), total))
    }

    fn issue(&self, number: &str) -> Answer {
        let issue = self.by_number(number)?;
        let mut reply = Reply::empty();
        reply.status = StatusCode::OK;
        reply.body = render::issue_row(self.world, self.repository, issue);
        Ok(reply)
    }

    fn pulls(&self) -> Answer {
        let state = self.paging.field("state").unwrap_or("open");
        let (rows, total) = self.repository.issues.page(
            self.order(Sort::Created),
            None,
            |issue| issue.pull.is_some() && (state == "all" || issue.state() == state),
            self.paging.offset(),
            self.paging.per_page,
        );
        self.hub
            .core
            .ledger
            .mark_polled(rows.iter().flat_map(|issue| issue.facts.iter().copied()));
        let rows: Vec<Bytes> = rows
            .iter()
            .map(|issue| render::pull_row(self.world, self.repository, issue))
            .collect();
        Ok(self.paging.link(Reply::rows(&rows, None), total))
    }

    fn pull(&self, number: &str) -> Answer {
        let issue = self.by_number(number)?;
        if issue.pull.is_none() {
            return Err(Reply::not_found());
        }
        Ok(Reply::ok(&render::pull(self.world, self.repository, issue)))
    }

    fn comments(&self, number: Option<&&str>) -> Answer {
        let issue = number
            .map(|number| self.by_number(number))
            .transpose()?
            .map(|issue| issue.id);
        // One issue's comments come oldest first; the repository's by creation too,
        // unless another order is asked for.
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
        self.hub.core.ledger.mark_polled(
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

    fn review_comments(&self, number: Option<&&str>) -> Answer {
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
        self.hub.core.ledger.mark_polled(
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

    fn reviews(&self, number: &str) -> Answer {
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
        self.hub
            .core
            .ledger
            .mark_polled(rows.iter().map(|review| review.fact));
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

    fn release_row(&self, release: &Release) -> Bytes {
        let render =
            || Bytes::from(render::release(self.world, self.repository, release).to_string());
        release.rendered.get_or_init(render).clone()
    }

    fn releases(&self) -> Answer {
        let order = Order {
            by: Sort::Created,
            ascending: false,
        };
        let shelf = &self.repository.releases;
        let (rows, total) = shelf.page(
            order,
            None,
            |_| true,
            self.paging.offset(),
            self.paging.per_page,
        );
        self.hub.core.ledger.mark_polled(
            rows.iter()
                .flat_map(|release| release.facts.iter().copied()),
        );
        let rows: Vec<Bytes> = rows
            .into_iter()
            .map(|release| self.release_row(release))
            .collect();
        Ok(self.paging.link(Reply::rows(&rows, None), total))
    }

    fn release(&self, id: &str) -> Answer {
        let found = id
            .parse()
            .ok()
            .and_then(|id| self.repository.releases.get(id));
        let found = found.ok_or_else(Reply::not_found)?;
        Ok(Reply::ok(&render::release(
            self.world,
            self.repository,
            found,
        )))
    }

    fn run_row(&self, run: &Run) -> Bytes {
        let render = || Bytes::from(render::run(self.world, self.repository, run).to_string());
        run.rendered.get_or_init(render).clone()
    }

    fn runs(&self) -> Answer {
        let created = self.paging.field("created").map(Span::parse);
        let created = created
            .transpose()
            .map_err(|()| Reply::unprocessable("Validation Failed"))?;
        let status = self.paging.field("status");
        let branch = self.paging.field("branch");
        let fits = |run: &Run| {
            created
                .as_ref()
                .is_none_or(|span| span.contains(run.created_at))
                && branch.is_none_or(|branch| branch == run.branch)
                && status.is_none_or(|status| {
                    run.conclusion == Some(status)
                        || (status == "completed") == run.conclusion.is_some()
                })
        };
        let filtered = created.is_some() || status.is_some() || branch.is_some();
        let order = Order {
            by: Sort::Created,
            ascending: false,
        };
        let shelf = &self.repository.runs;
        let (mut rows, total) = shelf.page(
            order,
            None,
            fits,
            self.paging.offset(),
            self.paging.per_page,
        );
        let reachable = if filtered {
            total.min(MOST_RUNS)
        } else {
            total
        };
        rows.truncate(reachable.saturating_sub(self.paging.offset()));
        self.hub
            .core
            .ledger
            .mark_polled(rows.iter().flat_map(|run| run.facts.iter().copied()));
        let rows: Vec<Bytes> = rows.into_iter().map(|run| self.run_row(run)).collect();
        Ok(self.paging.link(
            Reply::rows(&rows, Some(("workflow_runs", total))),
            reachable,
        ))
    }

    fn run(&self, id: &str) -> Answer {
        let found = id.parse().ok().and_then(|id| self.repository.runs.get(id));
        let found = found.ok_or_else(Reply::not_found)?;
        Ok(Reply::ok(&render::run(self.world, self.repository, found)))
    }

    fn stargazers(&self) -> Answer {
        let accept = self
            .headers
            .get(header::ACCEPT)
            .and_then(|accept| accept.to_str().ok());
        let dated = accept.is_some_and(|accept| accept.contains("star+json"));
        let stars = &self.repository.stars;
        let rows: Vec<_> = stars
            .iter()
            .skip(self.paging.offset())
            .take(self.paging.per_page)
            .collect();
        if dated {
            self.hub
                .core
                .ledger
                .mark_polled(rows.iter().map(|star| star.fact));
        }
        let rows: Vec<Bytes> = rows
            .into_iter()
            .map(|star| {
                let user = render::user(self.world, star.user);
                let row = if dated {
                    json!({"starred_at": iso(star.at), "user": user})
                } else {
                    user
                };
                Bytes::from(row.to_string())
            })
            .collect();
        Ok(self.paging.link(Reply::rows(&rows, None), stars.len()))
    }

    /// Commits reachable from a branch, newest first. History is linear here: a
    /// branch shows its own commits and those it started from.
    fn commits(&self) -> Answer {
        let name = self.paging.field("sha").unwrap_or("main");
        let Some(head) = self.repository.head(name).or_else(|| self.has(name)) else {
            return Err(Reply::not_found());
        };
        let (since, until) = (
            self.since()?,
            self.paging.field("until").and_then(parse_iso),
        );
        let mut wanted = Some(head);
        let chain = self.repository.commits.iter().rev().filter(|commit| {
            let reached = wanted == Some(commit.sha.as_str());
            if reached {
                wanted = commit.parent.as_deref();
            }
            reached
                && since.is_none_or(|since| commit.at >= since)
                && until.is_none_or(|until| commit.at <= until)
        });
        let all: Vec<_> = chain.collect();
        let rows: Vec<Bytes> = all
            .iter()
            .skip(self.paging.offset())
            .take(self.paging.per_page)
            .map(|commit| {
                Bytes::from(render::commit(self.world, self.repository, commit).to_string())
            })
            .collect();
        Ok(self.paging.link(Reply::rows(&rows, None), all.len()))
    }

    fn has(&self, sha: &str) -> Option<&str> {
        let found = self
            .repository
            .commits
            .iter()
            .find(|commit| commit.sha == sha);
        found.map(|commit| commit.sha.as_str())
    }

    fn commit(&self, name: &str) -> Answer {
        let sha = self
            .repository
            .head(name)
            .or_else(|| self.has(name))
            .ok_or_else(Reply::not_found)?;
        let found = self
            .repository
            .commits
            .iter()
            .find(|commit| commit.sha == sha);
        let found = found.ok_or_else(Reply::not_found)?;
        Ok(Reply::ok(&render::commit(
            self.world,
            self.repository,
            found,
        )))
    }

    fn references(&self, branches: bool) -> Answer {
        let all = if branches {
            &self.repository.branches
        } else {
            &self.repository.tags
        };
        let base = render::repository_url(self.world, self.repository);
        let rows: Vec<Bytes> = all
            .iter()
            .skip(self.paging.offset())
            .take(self.paging.per_page)
            .map(|(name, sha)| {
                let mut row = json!({"name": name, "commit": {"sha": sha, "url": format!("{base}/commits/{sha}")}});
                if branches {
                    row["protected"] = json!(false);
                } else {
                    row["zipball_url"] = json!(format!("{base}/zipball/refs/tags/{name}"));
                    row["tarball_url"] = json!(format!("{base}/tarball/refs/tags/{name}"));
                    row["node_id"] = json!(render::node_id("Ref", self.repository.id));
                }
                Bytes::from(row.to_string())
            })
            .collect();
        Ok(self.paging.link(Reply::rows(&rows, None), all.len()))
    }

    fn milestones(&self) -> Answer {
        let state = self.paging.field("state").unwrap_or("open");
        let all: Vec<Value> = self
            .repository
            .milestones
            .iter()
            .filter(|entry| state == "all" || (state == "closed") == entry.closed_at.is_some())
            .map(|entry| render::milestone(self.world, self.repository, entry))
            .collect();
        Ok(self.small(&all))
    }

    fn deployments(&self) -> Answer {
        let all = self.repository.deployments.iter().rev();
        let all: Vec<Value> = all
            .map(|entry| render::deployment(self.world, self.repository, entry))
            .collect();
        Ok(self.small(&all))
    }

    fn small(&self, all: &[Value]) -> Reply {
        let rows = all
            .iter()
            .skip(self.paging.offset())
            .take(self.paging.per_page);
        let rows: Vec<Bytes> = rows.map(|row| Bytes::from(row.to_string())).collect();
        self.paging.link(Reply::rows(&rows, None), all.len())
    }
}

/// A span of time as search queries write it: `>=2026-11-01`, `A..B`, a day.
struct Span {
    from: i64,
    to: i64,
}

impl Span {
    fn parse(text: &str) -> Result<Self, ()> {
        let at = |text: &str| parse_iso(text).ok_or(());
        // A date without a time ends with its day.
        let end = |text: &str| at(text).map(|at| if text.contains('T') { at } else { at + 86_399 });
        let (all_from, all_to) = (i64::MIN, i64::MAX);
        if let Some((from, to)) = text.split_once("..") {
            let from = if from == "*" { all_from } else { at(from)? };
            let to = if to == "*" { all_to } else { end(to)? };
            return Ok(Self { from, to });
        }
        if let Some(rest) = text.strip_prefix(">=") {
            return Ok(Self {
                from: at(rest)?,
                to: all_to,
            });
        }
        if let Some(rest) = text.strip_prefix("<=") {
            return Ok(Self {
                from: all_from,
                to: end(rest)?,
            });
        }
        if let Some(rest) = text.strip_prefix('>') {
            return Ok(Self {
                from: end(rest)? + 1,
                to: all_to,
            });
        }
        if let Some(rest) = text.strip_prefix('<') {
            return Ok(Self {
                from: all_from,
                to: at(rest)? - 1,
            });
        }
        Ok(Self {
            from: at(text)?,
            to: end(text)?,
        })
    }

    fn contains(&self, at: i64) -> bool {
        (self.from..=self.to).contains(&at)
    }
}

#[cfg(test)]
mod tests {
    use super::Span;

    #[test]
    fn spans_are_read_as_search_writes_them() {
        let noon = 1_795_435_200; // 2026-11-23T12:00:00Z
        for (text, contains) in [
            (">=2026-11-23", true),
            (">2026-11-23", false),
            ("<=2026-11-23", true),
            ("<2026-11-23", false),
            ("2026-11-23", true),
            ("2026-11-22..2026-11-23", true),
            ("2026-11-23T12:00:01Z..*", false),
            ("*..2026-11-23T12:00:00Z", true),
            (">=2026-11-23T12:00:00+00:00", true),
        ] {
            assert_eq!(
                Span::parse(text).map(|span| span.contains(noon)),
                Ok(contains),
                "{text}"
            );
        }
        assert!(Span::parse(">=soon").is_err());
    }
}
