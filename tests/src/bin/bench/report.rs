//! Report of the measurements, as a table and as JSON.

use std::borrow::Cow;
use std::fmt::Write;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};

/// Measured figure with its comparisons and its target.
#[derive(Debug, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: Cow<'static, str>,
    /// Figure of each round.
    pub(crate) figures: Vec<f64>,
    /// Comparisons of the same rounds; each has a row of the table.
    pub(crate) comparisons: Vec<Comparison>,
    /// The design's target.
    pub(crate) target: Cow<'static, str>,
}

/// Figure of another program or state that a row is compared with.
#[derive(Debug, Deserialize)]
pub(crate) struct Comparison {
    name: Cow<'static, str>,
    /// Figures of the same rounds.
    figures: Vec<f64>,
    /// Reason why there are no figures.
    missing: Option<Cow<'static, str>>,
    /// The design's target of the ratio.
    target: Cow<'static, str>,
}

impl Comparison {
    pub(crate) fn new(name: &'static str, figure: f64, target: &'static str) -> Self {
        Self {
            name: name.into(),
            figures: vec![figure],
            missing: None,
            target: target.into(),
        }
    }

    pub(crate) fn missing(name: &'static str, reason: &'static str, target: &'static str) -> Self {
        Self {
            name: name.into(),
            figures: Vec::new(),
            missing: Some(reason.into()),
            target: target.into(),
        }
    }

    /// Ratios of the row's figures to these, per round.
    fn ratios(&self, figures: &[f64]) -> Vec<f64> {
        let rounds = figures.iter().zip(&self.figures);
        rounds.map(|(ours, theirs)| ours / theirs).collect()
    }
}

impl Row {
    pub(crate) fn new(
        name: impl Into<String>,
        unit: &'static str,
        figure: f64,
        target: &'static str,
    ) -> Self {
        Self {
            name: name.into(),
            unit: unit.into(),
            figures: vec![figure],
            comparisons: Vec::new(),
            target: target.into(),
        }
    }

    pub(crate) fn compare_with(mut self, comparison: Comparison) -> Self {
        self.comparisons.push(comparison);
        self
    }

    /// Rows of the table, one per comparison.
    fn report_rows(&self) -> Vec<[String; 7]> {
        let name = format!("{} ({})", self.name, self.unit);
        let own = [
            name,
            format_figure(median(&self.figures)),
            spread(&self.figures),
        ];
        let row = |rest: [String; 4]| {
            let mut cells = own.iter().cloned().chain(rest);
            std::array::from_fn(|_| cells.next().unwrap_or_default())
        };
        if self.comparisons.is_empty() {
            let [comparison, ratio, ratios] = std::array::from_fn(|_| String::new());
            return vec![row([
                comparison,
                ratio,
                ratios,
                self.target.clone().into_owned(),
            ])];
        }
        let rows = self.comparisons.iter().map(|comparison| {
            let target = comparison.target.clone().into_owned();
            if let Some(reason) = &comparison.missing {
                let text = format!("{}: {reason}", comparison.name);
                return row([text, String::new(), String::new(), target]);
            }
            let ratios = comparison.ratios(&self.figures);
            let figure = format_figure(median(&comparison.figures));
            row([
                format!("{figure} {}", comparison.name),
                format!("{:.2}x", median(&ratios)),
                spread(&ratios),
                target,
            ])
        });
        rows.collect()
    }

    fn json(&self) -> Value {
        let comparisons = self.comparisons.iter().map(|comparison| {
            let ratios = comparison.ratios(&self.figures);
            json!({
                "name": comparison.name,
                "figures": comparison.figures,
                "median": median_if_any(&comparison.figures),
                "missing": comparison.missing,
                "ratios": ratios,
                "ratio": median_if_any(&ratios),
                "target": comparison.target,
            })
        });
        json!({
            "name": self.name,
            "unit": self.unit,
            "figures": self.figures,
            "median": median_if_any(&self.figures),
            "comparisons": comparisons.collect::<Vec<_>>(),
            "target": self.target,
        })
    }
}

/// Appends another round's figures to the same rows.
pub(crate) fn merge(rows: &mut Vec<Row>, measured: Vec<Row>) {
    for row in measured {
        let Some(known) = rows.iter_mut().find(|known| known.name == row.name) else {
            rows.push(row);
            continue;
        };
        known.figures.extend(row.figures);
        for (known, comparison) in known.comparisons.iter_mut().zip(row.comparisons) {
            known.figures.extend(comparison.figures);
        }
    }
}

fn median(figures: &[f64]) -> f64 {
    percentile(figures, 50)
}

/// The median, or `None` without figures.
fn median_if_any(figures: &[f64]) -> Option<f64> {
    (!figures.is_empty()).then(|| median(figures))
}

/// The figure below which `percent` percent of the figures are.
fn percentile(figures: &[f64], percent: usize) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// A percentile of durations in milliseconds.
pub(crate) fn milliseconds(durations: &[Duration], percent: usize) -> f64 {
    let figures: Vec<f64> = durations
        .iter()
        .map(|duration| duration.as_secs_f64() * 1000.0)
        .collect();
    percentile(&figures, percent)
}

/// Rows with percentiles of durations, each with its target in milliseconds.
pub(crate) fn percentiles<const N: usize>(
    name: &str,
    durations: &[Duration],
    targets: [(usize, &'static str); N],
) -> [Row; N] {
    targets.map(|(percent, target)| {
        let figure = milliseconds(durations, percent);
        Row::new(format!("{name}, p{percent}"), "ms", figure, target)
    })
}

/// Minimum and maximum.
fn spread(figures: &[f64]) -> String {
    let (min, max) = figures
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), figure| {
            (min.min(*figure), max.max(*figure))
        });
    format!("{} to {}", format_figure(min), format_figure(max))
}

fn format_figure(figure: f64) -> String {
    if figure.abs() >= 100.0 {
        format!("{figure:.0}")
    } else {
        format!("{figure:.2}")
    }
}

/// Formats rows as a table.
pub(crate) fn table(rows: &[Row]) -> String {
    let head = [
        "measurement",
        "median",
        "spread",
        "comparison",
        "ratio",
        "spread",
        "target",
    ];
    let mut table = vec![head.map(str::to_owned)];
    table.extend(rows.iter().flat_map(Row::report_rows));
    let widths: [usize; 7] = std::array::from_fn(|column| {
        let cells = table.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    });
    let mut text = String::new();
    for row in table {
        for (cell, width) in row.iter().zip(widths) {
            write!(text, "{cell:width$}  ").ok();
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// Reads rows that another run printed as JSON.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Row>> {
    #[derive(Deserialize)]
    struct Report {
        rows: Vec<Row>,
    }
    let name = path.display();
    let file = File::open(path).with_context(|| format!("failed to open {name}"))?;
    let report: Report =
        serde_json::from_reader(file).with_context(|| format!("failed to read rows of {name}"))?;
    Ok(report.rows)
}

/// Formats rows as JSON.
pub(crate) fn json(rows: &[Row]) -> Value {
    json!({ "rows": rows.iter().map(Row::json).collect::<Vec<_>>() })
}
