//! The metrics and labels that an expression of Prometheus uses.

use std::collections::BTreeSet;

/// The series and labels of an expression.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// Each selected series, with the labels of its matchers.
    pub(super) series: Vec<(String, Vec<String>)>,
    /// The labels of `by`, `without`, `on` and `ignoring`.
    pub(super) grouping: BTreeSet<String>,
}

impl Usage {
    pub(super) fn of(expression: &str) -> Self {
        let mut usage = Self::default();
        let text = without_strings(expression);
        let mut rest = text.as_str();
        while let Some(start) = rest.find(|char: char| char.is_ascii_alphabetic() || char == '_') {
            rest = &rest[start..];
            let end = rest
                .find(|char: char| !char.is_ascii_alphanumeric() && char != '_')
                .unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            let follows = after.trim_start();
            rest = after;
            if matches!(word, "by" | "without" | "on" | "ignoring") {
                if let Some((list, behind)) = enclosed(follows, '(', ')') {
                    usage.grouping.extend(words(list));
                    rest = behind;
                }
            } else if let Some((matchers, behind)) = enclosed(follows, '{', '}') {
                let labels = matchers.split(',').filter_map(|matcher| {
                    let label = matcher.split(['=', '!']).next()?.trim();
                    (!label.is_empty()).then(|| label.to_owned())
                });
                usage.series.push((word.to_owned(), labels.collect()));
                rest = behind;
            } else if is_metric(word) && !follows.starts_with('(') {
                usage.series.push((word.to_owned(), Vec::new()));
            }
        }
        usage
    }
}

fn is_metric(word: &str) -> bool {
    let prefixes = ["poblysh_", "http_server_", "process_"];
    word == "up" || prefixes.iter().any(|prefix| word.starts_with(prefix))
}

fn words(list: &str) -> impl Iterator<Item = String> {
    list.split(',').map(|word| word.trim().to_owned())
}

/// The text between brackets at the beginning, and the text behind them.
fn enclosed(text: &str, open: char, close: char) -> Option<(&str, &str)> {
    text.strip_prefix(open)?.split_once(close)
}

/// The expression with empty strings, whose content may look like anything else.
fn without_strings(expression: &str) -> String {
    let parts = expression.split('"').step_by(2);
    parts.collect::<Vec<_>>().join("\"\"")
}

/// The name and the labels of a line of the Prometheus text.
pub(super) fn parse_series(line: &str) -> Option<(String, Vec<String>)> {
    let (series, _) = line.rsplit_once(' ')?;
    let Some((name, labels)) = series.split_once('{') else {
        return Some((series.to_owned(), Vec::new()));
    };
    let labels = without_strings(labels.strip_suffix('}')?);
    let names = labels.split(',').filter_map(|label| {
        let name = label.split('=').next()?;
        (!name.is_empty()).then(|| name.to_owned())
    });
    Some((name.to_owned(), names.collect()))
}

#[test]
fn expressions_are_taken_apart() {
    let usage = Usage::of(
        "sum by (kind) (rate(poblysh_jobs_total{outcome=\"dead\",kind!~\"a,b\"}[5m])) > 0 \
         or up == 0 unless process_open_fds offset 1h",
    );
    let names: Vec<&str> = usage.series.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["poblysh_jobs_total", "up", "process_open_fds"]);
    assert_eq!(usage.series[0].1, ["outcome", "kind"]);
    assert_eq!(usage.grouping, BTreeSet::from(["kind".to_owned()]));
    let (name, labels) = parse_series("a_total{b=\"x, y=z\",c=\"\"} 3").expect("a series");
    assert_eq!(
        (name.as_str(), labels),
        ("a_total", vec!["b".to_owned(), "c".to_owned()])
    );
}
