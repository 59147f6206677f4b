//! The output: results on stdout as tables or JSON, progress and notes on stderr.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::api::List;
use crate::table::{self, Column};

/// Writer of the output in one of two forms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    is_json: bool,
}

#[expect(
    clippy::unused_self,
    reason = "a function that writes has the output as a parameter"
)]
impl Output {
    pub(crate) const fn new(is_json: bool) -> Self {
        Self { is_json }
    }

    pub(crate) const fn is_json(self) -> bool {
        self.is_json
    }

    /// Writes JSON, indented.
    pub(crate) fn json(self, value: &Value) -> io::Result<()> {
        let text = serde_json::to_string_pretty(value)?;
        writeln!(io::stdout(), "{text}")
    }

    /// Writes JSON as one line, for streams.
    pub(crate) fn json_line(self, value: &Value) -> io::Result<()> {
        writeln!(io::stdout(), "{value}")
    }

    /// Writes a line for people. Control characters become visible.
    pub(crate) fn line(self, text: &str) -> io::Result<()> {
        writeln!(io::stdout(), "{}", table::clean(text))
    }

    /// Writes a note to stderr.
    pub(crate) fn note(self, text: &str) -> io::Result<()> {
        writeln!(io::stderr(), "{}", table::clean(text))
    }

    /// Writes rows as a table for people.
    pub(crate) fn table(self, columns: &[Column], rows: &[Value]) -> io::Result<()> {
        write!(io::stdout(), "{}", table::render(columns, rows))
    }

    /// Writes a list of the API under its own name.
    pub(crate) fn list(self, name: &str, list: &List, columns: &[Column]) -> io::Result<()> {
        if self.is_json {
            return self.json(&json!({ name: list.rows, "next_cursor": list.next_cursor }));
        }
        if list.rows.is_empty() {
            return self.note("Nothing found.");
        }
        self.table(columns, &list.rows)?;
        if list.next_cursor.is_some() {
            self.note("There are more rows: --limit N or --all shows them.")?;
        }
        Ok(())
    }

    /// Writes one object: JSON, or a line for each field.
    pub(crate) fn object(self, value: &Value, fields: &[Column]) -> io::Result<()> {
        if self.is_json {
            return self.json(value);
        }
        write!(io::stdout(), "{}", table::render_fields(fields, value))
    }

    /// Writes the result of a change: the object as JSON, or a sentence.
    pub(crate) fn done(self, value: &Value, sentence: &str) -> io::Result<()> {
        if self.is_json {
            return self.json(value);
        }
        self.line(sentence)
    }
}
