//! Tables of values for people.

use serde_json::Value;

/// The text of a missing value.
const MISSING: &str = "-";
/// The space between two columns.
const GAP: &str = "  ";
/// The length of `2026-11-23T10:04:31`.
const SECONDS: usize = 19;

/// A column: its title, and the place of its value in a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    title: &'static str,
    pointer: &'static str,
    is_time: bool,
}

impl Column {
    /// A column of texts, numbers, or lists of them.
    pub(crate) const fn text(title: &'static str, pointer: &'static str) -> Self {
        Self {
            title,
            pointer,
            is_time: false,
        }
    }

    /// A column of times, to the second in UTC.
    pub(crate) const fn time(title: &'static str, pointer: &'static str) -> Self {
        Self {
            is_time: true,
            ..Self::text(title, pointer)
        }
    }

    fn cell(&self, row: &Value) -> String {
        let value = row.pointer(self.pointer).unwrap_or(&Value::Null);
        let text = text(value);
        if self.is_time {
            time(&text)
        } else {
            clean(&text)
        }
    }
}

/// A value as text: a list is separated by commas, and null is a dash.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => MISSING.to_owned(),
        Value::String(text) if text.is_empty() => MISSING.to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => MISSING.to_owned(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// An RFC 3339 time of the API, which is in UTC, to the second.
pub(crate) fn time(text: &str) -> String {
    let text = clean(text);
    match text.get(..SECONDS) {
        Some(seconds) if text.as_bytes()[10] == b'T' => seconds.replacen('T', " ", 1),
        _ => text,
    }
}

/// Replaces control characters, so that a value can neither break a table nor control a terminal.
pub(crate) fn clean(text: &str) -> String {
    let is_hidden =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars()
        .map(|c| if is_hidden(c) { '\u{fffd}' } else { c })
        .collect()
}

/// Renders rows below the titles of their columns.
pub(crate) fn render(columns: &[Column], rows: &[Value]) -> String {
    let titles = columns
        .iter()
        .map(|column| column.title.to_owned())
        .collect();
    let cells = rows
        .iter()
        .map(|row| columns.iter().map(|column| column.cell(row)).collect());
    let lines: Vec<Vec<String>> = std::iter::once(titles).chain(cells).collect();
    align(&lines)
}

/// Renders the fields of one object, one per line.
pub(crate) fn render_fields(fields: &[Column], value: &Value) -> String {
    let lines: Vec<Vec<String>> = fields
        .iter()
        .map(|field| vec![field.title.to_owned(), field.cell(value)])
        .collect();
    align(&lines)
}

/// Pads all cells but the last of each line to the width of their column.
fn align(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        for (at, cell) in line.iter().enumerate() {
            text.push_str(cell);
            if at + 1 < line.len() {
                let padding = widths[at] - cell.chars().count();
                text.extend(std::iter::repeat_n(' ', padding));
                text.push_str(GAP);
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const COLUMNS: [Column; 3] = [
        Column::text("ID", "/id"),
        Column::text("NAME", "/account/name"),
        Column::time("AT", "/at"),
    ];

    #[test]
    fn values_of_all_forms_have_a_text() {
        let row = json!({
            "id": 7, "account": { "name": ["a", "b"] }, "at": "2026-11-23T10:04:31.123456Z",
        });
        assert_eq!(
            render(&COLUMNS, &[row, json!({})]),
            "ID  NAME  AT\n7   a,b   2026-11-23 10:04:31\n-   -     -\n"
        );
    }

    #[test]
    fn fields_are_aligned() {
        let text = render_fields(
            &COLUMNS[..2],
            &json!({ "id": "x", "account": { "name": "A" } }),
        );
        assert_eq!(text, "ID    x\nNAME  A\n");
    }

    proptest! {
        #[test]
        fn any_value_stays_in_its_line_and_column(
            names in prop::collection::vec(any::<String>(), 0..8), at in any::<String>(),
        ) {
            let rows: Vec<Value> = names
                .iter()
                .map(|name| json!({ "id": name, "account": { "name": name }, "at": at }))
                .collect();
            let text = render(&COLUMNS, &rows);
            prop_assert_eq!(text.matches('\n').count(), rows.len() + 1);
            prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
            let starts: Vec<usize> = names.iter().map(|name| {
                let name = clean(name);
                if name.is_empty() { 1 } else { name.chars().count() }
            }).collect();
            let width = starts.iter().copied().max().unwrap_or(0).max("ID".len());
            for (line, start) in text.lines().skip(1).zip(starts) {
                let gap: String = line.chars().skip(start).take(width - start + GAP.len()).collect();
                prop_assert!(gap.chars().all(|c| c == ' '), "{line:?}");
            }
        }

        #[test]
        fn time_has_no_control_characters(text in any::<String>()) {
            prop_assert!(time(&text).chars().all(|c| !c.is_control()));
        }
    }
}
