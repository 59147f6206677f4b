//! What was measured, as a table and as JSON.

use std::borrow::Cow;
use std::fmt::Write;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};

/// A figure, measured one or more times, and what it is held against.
#[derive(Debug, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: Cow<'static, str>,
    #[serde(rename = "figures")]
    pub(crate) ours: Vec<f64>,
    /// Comparisons of the same rounds; each has a line of the table.
    pub(crate) beside: Vec<Beside>,
    /// What the design asks for.
    pub(crate) target: Cow<'static, str>,
}

/// Something that does the same.
#[derive(Debug, Deserialize)]
pub(crate) struct Beside {
    what: Cow<'static, str>,
    /// Its figures of the same rounds as ours.
    figures: Vec<f64>,
    /// Why there are none.
    missing: Option<Cow<'static, str>>,
    /// The ratio that the design asks for.
    target: Cow<'static, str>,
}

impl Beside {
    pub(crate) fn new(what: &'static str, figure: f64, target: &'static str) -> Self {
        Self {
            what: what.into(),
            figures: vec![figure],
            missing: None,
            target: target.into(),
        }
    }

    pub(crate) fn missing(what: &'static str, why: &'static str, target: &'static str) -> Self {
        Self {
            what: what.into(),
            figures: Vec::new(),
            missing: Some(why.into()),
            target: target.into(),
        }
    }

    /// Ours over its, round by round.
    fn ratios(&self, ours: &[f64]) -> Vec<f64> {
        let rounds = ours.iter().zip(&self.figures);
        rounds.map(|(ours, its)| ours / its).collect()
    }
}

impl Row {
    pub(crate) fn new(
        name: impl Into<String>,
        unit: &'static str,
        ours: f64,
        target: &'static str,
    ) -> Self {
        Self {
            name: name.into(),
            unit: unit.into(),
            ours: vec![ours],
            beside: Vec::new(),
            target: target.into(),
        }
    }

    pub(crate) fn beside(mut self, comparison: Beside) -> Self {
        self.beside.push(comparison);
        self
    }

    /// The lines of the table: one for each comparison.
    fn lines(&self) -> Vec<[String; 7]> {
        let name = format!("{} ({})", self.name, self.unit);
        let own = [name, shown(median(&self.ours)), spread(&self.ours)];
        let line = |rest: [String; 4]| {
            let mut cells = own.iter().cloned().chain(rest);
            std::array::from_fn(|_| cells.next().unwrap_or_default())
        };
        if self.beside.is_empty() {
            let [beside, ratio, ratios] = std::array::from_fn(|_| String::new());
            return vec![line([
                beside,
                ratio,
                ratios,
                self.target.clone().into_owned(),
            ])];
        }
        let comparisons = self.beside.iter().map(|beside| {
            let target = beside.target.clone().into_owned();
            if let Some(why) = &beside.missing {
                let what = format!("{}: {why}", beside.what);
                return line([what, String::new(), String::new(), target]);
            }
            let ratios = beside.ratios(&self.ours);
            line([
                format!("{} {}", shown(median(&beside.figures)), beside.what),
                format!("{:.2}x", median(&ratios)),
                spread(&ratios),
                target,
            ])
        });
        comparisons.collect()
    }

    fn json(&self) -> Value {
        let comparisons = self.beside.iter().map(|beside| {
            let ratios = beside.ratios(&self.ours);
            json!({
                "what": beside.what,
                "figures": beside.figures,
                "median": figure(&beside.figures),
                "missing": beside.missing,
                "ratios": ratios,
                "ratio": figure(&ratios),
                "target": beside.target,
            })
        });
        json!({
            "name": self.name,
            "unit": self.unit,
            "figures": self.ours,
            "median": figure(&self.ours),
            "beside": comparisons.collect::<Vec<_>>(),
            "target": self.target,
        })
    }
}

/// Puts another round's figures to those of the same rows.
pub(crate) fn merge(rows: &mut Vec<Row>, measured: Vec<Row>) {
    for row in measured {
        let Some(known) = rows.iter_mut().find(|known| known.name == row.name) else {
            rows.push(row);
            continue;
        };
        known.ours.extend(row.ours);
        for (known, beside) in known.beside.iter_mut().zip(row.beside) {
            known.figures.extend(beside.figures);
        }
    }
}

fn median(figures: &[f64]) -> f64 {
    percentile(figures, 50)
}

/// The median for machines: nothing where there are no figures.
fn figure(figures: &[f64]) -> Option<f64> {
    (!figures.is_empty()).then(|| median(figures))
}

/// The figure below which `percent` of the figures lie.
fn percentile(figures: &[f64], percent: usize) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// The percentile of durations, in milliseconds.
pub(crate) fn milliseconds(durations: &[Duration], percent: usize) -> f64 {
    let figures: Vec<f64> = durations
        .iter()
        .map(|duration| duration.as_secs_f64() * 1000.0)
        .collect();
    percentile(&figures, percent)
}

/// The least and the most.
fn spread(figures: &[f64]) -> String {
    let (least, most) = figures.iter().fold(
        (f64::INFINITY, f64::NEG_INFINITY),
        |(least, most), figure| (least.min(*figure), most.max(*figure)),
    );
    format!("{} to {}", shown(least), shown(most))
}

fn shown(figure: f64) -> String {
    if figure.abs() >= 100.0 {
        format!("{figure:.0}")
    } else {
        format!("{figure:.2}")
    }
}

/// The rows for people.
pub(crate) fn table(rows: &[Row]) -> String {
    let head = [
        "what", "median", "spread", "beside", "ratio", "spread", "target",
    ];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows.iter().flat_map(Row::lines));
    let widths: [usize; 7] = std::array::from_fn(|column| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or_default()
    });
    let mut text = String::new();
    for line in lines {
        for (cell, width) in line.iter().zip(widths) {
            write!(text, "{cell:width$}  ").ok();
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// Rows that another run has printed for machines.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Row>> {
    #[derive(Deserialize)]
    struct Printed {
        rows: Vec<Row>,
    }
    let name = path.display();
    let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
    let printed: Printed =
        serde_json::from_reader(file).with_context(|| format!("{name} has no rows"))?;
    Ok(printed.rows)
}

/// The rows for machines.
pub(crate) fn json(rows: &[Row]) -> Value {
    json!({ "rows": rows.iter().map(Row::json).collect::<Vec<_>>() })
}
