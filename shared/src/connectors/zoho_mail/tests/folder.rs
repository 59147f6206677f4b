//! A mock server that holds a folder, newest mail first.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::{MAILBOX, access, floor, now};
use crate::connectors::zoho_mail::ZohoMail;
use crate::connectors::{Connector, SyncPage, SyncRequest};
use crate::http::Priority;
use crate::model::StreamSpec;

pub(super) const FOLDER: &str = "7002";

/// The number in the id of a mail that arrives now.
const AGE_ZERO: i64 = 500_000_000;

/// The rows of a folder, which tests change while it is read.
#[derive(Clone, Default)]
pub(super) struct Folder {
    pub(super) rows: Arc<Mutex<Vec<Value>>>,
    /// Most rows of a response, whatever is asked for.
    pub(super) cap: Option<usize>,
}

impl Folder {
    /// A folder with a mail for each of these ages in seconds, whose ids are the ages.
    pub(super) fn of(ages: impl IntoIterator<Item = i64>) -> Self {
        let folder = Self::default();
        folder.change(|rows| rows.extend(ages.into_iter().map(row)));
        folder
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Vec<Value>)) {
        change(&mut self.rows.lock().expect("the rows"));
    }

    pub(super) async fn serve(&self, server: &MockServer) {
        let (rows, cap) = (Arc::clone(&self.rows), self.cap);
        Mock::given(path(format!("/eu/api/accounts/{MAILBOX}/messages/view")))
            .respond_with(move |request: &Request| {
                let parameter = |name: &str| {
                    let mut pairs = request.url.query_pairs();
                    let (_, value) = pairs.find(|(key, _)| key == name).expect(name);
                    value.into_owned()
                };
                assert_eq!(parameter("folderId"), FOLDER);
                assert_eq!(parameter("sortBy"), "date");
                assert_eq!(parameter("sortorder"), "false");
                let number = |name| parameter(name).parse::<usize>().expect("a number");
                let (start, limit) = (number("start"), number("limit"));
                assert!(start >= 1 && (1..=200).contains(&limit), "{start} {limit}");
                let rows = rows.lock().expect("the rows");
                let limit = cap.map_or(limit, |cap| limit.min(cap));
                let page: Vec<&Value> = rows.iter().skip(start - 1).take(limit).collect();
                let status = json!({ "code": 200, "description": "success" });
                ResponseTemplate::new(200).set_body_json(json!({ "status": status, "data": page }))
            })
            .mount(server)
            .await;
    }
}

/// A mail that arrived this many seconds ago.
pub(super) fn row(age: i64) -> Value {
    let at = now() - TimeDelta::seconds(age);
    json!({
        "messageId": id(age), "folderId": FOLDER, "subject": "The valve", "sender": "Grace",
        "fromAddress": "grace@navy.example", "toAddress": "&lt;ada@acme.example&gt;",
        "ccAddress": "Not Provided", "receivedTime": at.timestamp_millis().to_string(),
        "sentDateInGMT": "1", "hasAttachment": "0", "summary": "Dear Ada", "status": "0",
    })
}

/// The id of the mail with this age.
pub(super) fn id(age: i64) -> String {
    format!("1700{:015}", AGE_ZERO + age)
}

pub(super) fn request(stream: &str, cursor: Option<Value>) -> SyncRequest {
    SyncRequest {
        access: access(),
        stream: StreamSpec {
            key: stream.to_owned(),
            resource_id: None,
            target: json!({ "is_sent": false }),
        },
        cursor,
        backfill_from: floor(),
        upper_bound: now(),
        resync_from: None,
        reconcile_from: None,
        failures: 0,
        priority: Priority::Poll,
        directory: Arc::default(),
    }
}

/// Reads a page of the folder.
pub(super) async fn read(mail: &ZohoMail, cursor: Option<Value>) -> SyncPage {
    let stream = format!("folder:{FOLDER}");
    mail.sync(request(&stream, cursor)).await.expect("a page")
}

/// The ages of the mails that a page tells of.
pub(super) fn ages(page: &SyncPage) -> BTreeSet<i64> {
    let prefix = format!("zoho_mail:{MAILBOX}:message:1700");
    let keys = page.signals.iter().map(|signal| &signal.dedupe_key);
    let number = |key: &String| key.strip_prefix(&prefix)?.parse::<i64>().ok();
    keys.map(|key| number(key).expect("a key") - AGE_ZERO)
        .collect()
}

/// Reads the folder to the end of the run; `between` changes it after each page but the last.
pub(super) async fn read_all(
    mail: &ZohoMail,
    mut cursor: Option<Value>,
    mut between: impl FnMut(usize),
) -> (BTreeSet<i64>, Value) {
    let mut found = BTreeSet::new();
    for pages in 1..1_000 {
        let page = read(mail, cursor.take()).await;
        found.extend(ages(&page));
        if !page.has_more {
            return (found, page.cursor);
        }
        between(pages);
        cursor = Some(page.cursor);
    }
    panic!("the walk does not end");
}
