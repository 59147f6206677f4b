//! What was measured, as a table and as JSON.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

/// One line: a figure, measured one or more times, and what it is held against.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) ours: Vec<f64>,
    /// What the comparison is, and its figures of the same rounds.
    pub(crate) beside: Option<(&'static str, Vec<f64>)>,
    /// What the design asks for.
    pub(crate) target: &'static str,
}

impl Row {
    pub(crate) fn new(
        name: &'static str,
        unit: &'static str,
        ours: f64,
        target: &'static str,
    ) -> Self {
        Self {
            name,
            unit,
            ours: vec![ours],
            beside: None,
            target,
        }
    }

    pub(crate) fn beside(mut self, what: &'static str, figure: f64) -> Self {
        self.beside = Some((what, vec![figure]));
        self
    }

    /// Ours over the comparison's, of the medians.
    fn ratio(&self) -> Option<f64> {
        let (_, figures) = self.beside.as_ref()?;
        Some(median(&self.ours) / median(figures))
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
        if let (Some((_, known)), Some((_, figures))) = (&mut known.beside, row.beside) {
            known.extend(figures);
        }
    }
}

fn median(figures: &[f64]) -> f64 {
    percentile(figures, 50)
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

fn spread(figures: &[f64]) -> (f64, f64) {
    figures.iter().fold(
        (f64::INFINITY, f64::NEG_INFINITY),
        |(least, most), figure| (least.min(*figure), most.max(*figure)),
    )
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
    let mut lines =
        vec![["what", "median", "spread", "beside", "ratio", "target"].map(str::to_owned)];
    for row in rows {
        let (least, most) = spread(&row.ours);
        lines.push([
            format!("{} ({})", row.name, row.unit),
            shown(median(&row.ours)),
            format!("{} to {}", shown(least), shown(most)),
            row.beside
                .as_ref()
                .map_or_else(String::new, |(what, figures)| {
                    format!("{} {what}", shown(median(figures)))
                }),
            row.ratio()
                .map_or_else(String::new, |ratio| format!("{ratio:.2}x")),
            row.target.to_owned(),
        ]);
    }
    let widths: [usize; 6] = std::array::from_fn(|column| {
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

/// The rows for machines.
pub(crate) fn json(rows: &[Row]) -> Value {
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            let beside = row.beside.as_ref().map(|(what, figures)| {
                json!({ "what": what, "figures": figures, "median": median(figures) })
            });
            json!({
                "name": row.name,
                "unit": row.unit,
                "figures": row.ours,
                "median": median(&row.ours),
                "beside": beside,
                "ratio": row.ratio(),
                "target": row.target,
            })
        })
        .collect();
    json!({ "rows": rows })
}
