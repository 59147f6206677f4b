//! Threads whose messages cannot be read.

use std::collections::BTreeSet;

use serde_json::json;

use super::cliq;
use super::sync::{active_at, ago, hold, keys, queries, read_all, respond, thread, world};

#[tokio::test]
async fn unusable_thread_is_counted_and_holds_no_other() {
    let (server, cliq) = cliq().await;
    let time = "2027-01-15T08:00:00Z";
    let threads = ["CT_1-T-1", "CT_1-T-2", "CT_1-T-3"].map(|chat| thread(chat, time));
    respond(
        &server,
        "channels/T1/threads",
        200,
        json!({ "data": threads }),
    )
    .await;
    // The threads are read from the last to the first.
    respond(
        &server,
        "chats/CT_1-T-3/messages",
        400,
        json!({ "code": "invalid_data" }),
    )
    .await;
    respond(&server, "chats/CT_1-T-2/messages", 200, json!({})).await;
    hold(&server, world(&[("CT_1-T-1", vec![ago(60)])])).await;

    let pages = read_all(&cliq, "threads:T1", &active_at(0), None).await;
    assert_eq!(keys(&pages), BTreeSet::from([ago(60).to_string()]));
    let unreadable = pages.iter().flat_map(|page| &page.unreadable_rows);
    let unreadable: Vec<_> = unreadable
        .map(|row| (row.id.as_deref(), &row.reason))
        .collect();
    let [(third, reason), (second, _)] = &unreadable[..] else {
        panic!("{unreadable:?}");
    };
    assert_eq!((*third, *second), (Some("CT_1-T-3"), Some("CT_1-T-2")));
    assert!(reason.contains("invalid_data"), "{reason}");
    let last = pages.last().expect("a page");
    assert!(!last.has_more);
    let part = Some("messages in threads");
    assert_eq!(last.denied_part, part, "the stream is not reconciled");
    for chat in ["CT_1-T-3", "CT_1-T-2"] {
        let calls = queries(&server, &format!("chats/{chat}/messages")).await;
        assert_eq!(calls.len(), 1, "{chat}: no call is repeated");
    }
}
