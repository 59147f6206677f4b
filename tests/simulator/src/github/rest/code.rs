//! Lists and objects of releases, workflow runs, stars, commits, branches and tags.

use axum::http::header;
use bytes::Bytes;
use serde_json::json;

use super::ResourceRequest;
use super::lists::ReplyResult;
use crate::clock::{iso, parse_iso};
use crate::github::render;
use crate::github::reply::Reply;
use crate::github::world::{Order, Release, Run, Sort};

/// Maximum number of results of a filtered query of workflow runs.
const MAX_FILTERED_RUNS: usize = 1_000;

impl ResourceRequest<'_> {
    fn release_row(&self, release: &Release) -> Bytes {
        let render =
            || Bytes::from(render::release(self.world, self.repository, release).to_string());
        release.rendered.get_or_init(render).clone()
    }

    pub(super) fn releases(&self) -> Reply {
        let order = Order {
            by: Sort::Created,
            ascending: false,
        };
        let all = &self.repository.releases;
        let (rows, total) = all.page(
            order,
            None,
            |_| true,
            self.paging.offset(),
            self.paging.per_page,
        );
        self.service.core.ledger.mark_polled(
            rows.iter()
                .flat_map(|release| release.facts.iter().copied()),
        );
        let rows: Vec<Bytes> = rows
            .into_iter()
            .map(|release| self.release_row(release))
            .collect();
        self.paging.link(Reply::rows(&rows, None), total)
    }

    pub(super) fn release(&self, id: &str) -> ReplyResult {
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

    pub(super) fn runs(&self) -> ReplyResult {
        let created = self.paging.field("created").map(Span::parse);
        let created = created
            .transpose()
            .map_err(|()| Reply::unprocessable("Validation Failed"))?;
        let status = self.paging.field("status");
        let branch = self.paging.field("branch");
        let matches = |run: &Run| {
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
        let all = &self.repository.runs;
        let (mut rows, total) = all.page(
            order,
            None,
            matches,
            self.paging.offset(),
            self.paging.per_page,
        );
        let reachable = if filtered {
            total.min(MAX_FILTERED_RUNS)
        } else {
            total
        };
        rows.truncate(reachable.saturating_sub(self.paging.offset()));
        self.service
            .core
            .ledger
            .mark_polled(rows.iter().flat_map(|run| run.facts.iter().copied()));
        let rows: Vec<Bytes> = rows.into_iter().map(|run| self.run_row(run)).collect();
        Ok(self.paging.link(
            Reply::rows(&rows, Some(("workflow_runs", total))),
            reachable,
        ))
    }

    pub(super) fn run(&self, id: &str) -> ReplyResult {
        let found = id.parse().ok().and_then(|id| self.repository.runs.get(id));
        let found = found.ok_or_else(Reply::not_found)?;
        Ok(Reply::ok(&render::run(self.world, self.repository, found)))
    }

    pub(super) fn stargazers(&self) -> Reply {
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
            self.service
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
        self.paging.link(Reply::rows(&rows, None), stars.len())
    }

    /// Commits of a branch and their ancestors, newest first. History is linear.
    pub(super) fn commits(&self) -> ReplyResult {
        let name = self.paging.field("sha").unwrap_or("main");
        let Some(head) = self.repository.head(name).or_else(|| self.known_sha(name)) else {
            return Err(Reply::not_found());
        };
        let (since, until) = (
            self.since()?,
            self.paging.field("until").and_then(parse_iso),
        );
        let mut next = Some(head);
        let chain = self.repository.commits.iter().rev().filter(|commit| {
            let is_reached = next == Some(commit.sha.as_str());
            if is_reached {
                next = commit.parent.as_deref();
            }
            is_reached
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

    fn known_sha(&self, sha: &str) -> Option<&str> {
        let found = self
            .repository
            .commits
            .iter()
            .find(|commit| commit.sha == sha);
        found.map(|commit| commit.sha.as_str())
    }

    pub(super) fn commit(&self, name: &str) -> ReplyResult {
        let sha = self
            .repository
            .head(name)
            .or_else(|| self.known_sha(name))
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

    pub(super) fn references(&self, branches: bool) -> Reply {
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
        self.paging.link(Reply::rows(&rows, None), all.len())
    }
}

/// A time range of a search query: `>=2026-11-01`, `A..B`, or a day.
struct Span {
    from: i64,
    to: i64,
}

impl Span {
    fn parse(text: &str) -> Result<Self, ()> {
        let at = |text: &str| parse_iso(text).ok_or(());
        // A date without a time includes its whole day.
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
    fn spans_are_parsed_from_search_syntax() {
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
