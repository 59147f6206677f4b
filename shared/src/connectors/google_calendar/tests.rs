//! Tests of the connector with payloads and a mock server.

mod calendars;
mod golden;
mod properties;
mod rows;
mod series;
mod server;
mod sync;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;

pub(in crate::connectors) use crate::connectors::google::tests::settings;

use super::normalize::{NormalizeContext, normalize_rows};
use super::wire::Page;
use crate::connectors::page::PageContent;
use crate::connectors::testing::payload;

/// The pages of events.
const ALL_PAGES: &[&str] = &[
    "cancelled",
    "created",
    "edited",
    "empty",
    "no_facts",
    "private",
    "series.edited",
    "series.instance_deleted",
    "series.invited_once",
    "series.part",
    "unreadable",
];

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

fn context() -> NormalizeContext<'static> {
    NormalizeContext {
        calendar: "ada@example.com",
        name: Some("Ada"),
        floor: at("2026-11-01T00:00:00Z"),
        received_at: at("2026-11-23T12:00:00Z"),
    }
}

/// A page of events.
fn page(name: &str) -> Bytes {
    payload("google_calendar", name)
}

fn normalize_page(context: &NormalizeContext<'_>, body: &Bytes) -> PageContent {
    let page: Page<'_> = serde_json::from_slice(body).expect("a page");
    let rows: Vec<&RawValue> = page.items.expect("rows");
    normalize_rows(context, &rows)
}
