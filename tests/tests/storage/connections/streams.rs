//! Streams of a connection: which are unread, how far they are read and what holds them back.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use shared::clock::{Clock, SystemClock};
use shared::db::Tx;
use shared::db::cursors::{self, Advance};
use shared::model::JobError;

use super::{Fixture, list_two_streams, stream};

/// A time in minutes after a fixed one.
fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + minutes * 60, 0).expect("a time")
}

#[tokio::test]
async fn unread_streams_are_listed_least_recent_first() {
    let fixture = Fixture::new().await;
    let streams = ["a", "b", "c", "d"].map(stream);
    let mut tx = fixture.begin().await;
    cursors::list_streams(&mut tx, &fixture.scope, fixture.id, &streams, at(0), at(0))
        .await
        .expect("listed");
    for (key, minutes) in [("a", 9), ("c", 5)] {
        let keys = [key.to_owned()];
        cursors::mark_read(&mut tx, &fixture.scope, fixture.id, &keys, at(minutes))
            .await
            .expect("marked");
    }
    let denied = JobError::new("permission", "denied");
    cursors::record_failure(
        &mut tx,
        &fixture.scope,
        fixture.id,
        "d",
        &denied,
        Some(at(20)),
    )
    .await
    .expect("recorded");
    let progress =
        cursors::measure_progress(&mut tx, &fixture.scope, fixture.id, "root", at(20), None).await;
    let progress = progress.expect("measured");
    assert_eq!((progress.streams, progress.failing), (4, 1));
    assert_eq!(
        progress.read_through, None,
        "one stream has never been read"
    );
    assert_eq!(progress.held_back_by.expect("a stream").stream, "d");
    let unread = async |tx: &mut Tx, minutes| -> Vec<String> {
        let (scope, id) = (&fixture.scope, fixture.id);
        cursors::list_unread(tx, scope, id, "root", at(minutes), false, 10)
            .await
            .expect("streams")
            .into_iter()
            .map(|stream| stream.spec.key)
            .collect()
    };
    assert_eq!(unread(&mut tx, 20).await, ["b", "c", "a"]);
    assert_eq!(unread(&mut tx, 21).await, ["b", "d", "c", "a"]);

    // Streams that the next complete pass does not list are no longer read.
    cursors::list_streams(
        &mut tx,
        &fixture.scope,
        fixture.id,
        &streams[..2],
        at(0),
        at(30),
    )
    .await
    .expect("listed");
    cursors::retire_unlisted(&mut tx, &fixture.scope, fixture.id, "root", at(30))
        .await
        .expect("retired");
    assert_eq!(unread(&mut tx, 30).await, ["b", "a"]);
}

#[tokio::test]
async fn held_back_by_names_stream_and_reason() {
    let fixture = Fixture::new().await;
    let error = |code: &str| JobError::new(code, &format!("{code} message"));
    let mut tx = fixture.begin().await;
    cursors::get_or_create_root(&mut tx, &fixture.scope, fixture.id, &stream("root"), at(0))
        .await
        .expect("the root");
    list_two_streams(&fixture, &mut tx, at(1)).await;
    let progress = async |tx: &mut Tx, bound, waiting: Option<&JobError>| {
        cursors::measure_progress(tx, &fixture.scope, fixture.id, "root", at(bound), waiting)
            .await
            .expect("how far")
    };
    let held = |progress: &cursors::StreamProgress| {
        let held = progress.held_back_by.as_ref().expect("a stream");
        (
            held.stream.clone(),
            held.code.clone(),
            held.since,
            held.streams,
        )
    };
    let expected = |stream: &str, code: &str, minutes, streams| {
        (stream.to_owned(), code.to_owned(), at(minutes), streams)
    };

    let all = progress(&mut tx, 1, None).await;
    assert_eq!((all.held_back_by, all.has_problem), (None, false));
    // A new run has read one of the streams.
    let keys = ["b".to_owned()];
    cursors::mark_read(&mut tx, &fixture.scope, fixture.id, &keys, at(2))
        .await
        .expect("marked");
    let waits = progress(&mut tx, 2, None).await;
    assert_eq!(held(&waits), expected("a", "time_slice", 1, 1));
    assert!(!waits.has_problem);
    let limited = progress(&mut tx, 2, Some(&error("rate_limited"))).await;
    assert_eq!(held(&limited), expected("a", "rate_limited", 1, 1));
    // A search found nothing new in the stream.
    sqlx::query("UPDATE cursors SET attempted_through = $1 WHERE stream = 'a'")
        .bind(at(2))
        .execute(&mut *tx)
        .await
        .expect("deferred");
    let deferred = progress(&mut tx, 2, None).await;
    assert_eq!(held(&deferred), expected("a", "deferred", 1, 1));
    assert!(!deferred.has_problem, "deferral is not a problem");

    // Unreadable streams come before streams that cannot be reconciled, and those before waiting
    // ones.
    let denied = error("permission");
    cursors::record_reconcile_failure(&mut tx, &fixture.scope, fixture.id, "b", Some(&denied))
        .await
        .expect("recorded");
    let unreconciled = progress(&mut tx, 2, None).await;
    let (stream, code, ..) = held(&unreconciled);
    assert_eq!((stream.as_str(), code.as_str()), ("b", "permission"));
    assert!(unreconciled.has_problem && unreconciled.failing == 0);
    let fails = error("transient");
    cursors::record_failure(&mut tx, &fixture.scope, fixture.id, "root", &fails, None)
        .await
        .expect("recorded");
    let root_fails = progress(&mut tx, 2, None).await;
    let (stream, code, ..) = held(&root_fails);
    assert_eq!((stream.as_str(), code.as_str()), ("root", "transient"));
    assert_eq!((root_fails.streams, root_fails.failing), (2, 0));
}

#[tokio::test]
async fn new_stream_is_reported_as_unread() {
    let fixture = Fixture::new().await;
    let at = SystemClock.now() - TimeDelta::minutes(1);
    let mut tx = fixture.begin().await;
    let streams = [stream("a")];
    cursors::list_streams(&mut tx, &fixture.scope, fixture.id, &streams, at, at)
        .await
        .expect("listed");
    let progress =
        cursors::measure_progress(&mut tx, &fixture.scope, fixture.id, "root", at, None).await;
    let held = progress.expect("how far").held_back_by.expect("a stream");
    assert_eq!((held.stream.as_str(), held.code.as_str()), ("a", "unread"));
}

#[tokio::test]
async fn working_page_size_is_stored_with_stream() {
    let fixture = Fixture::new().await;
    let at = SystemClock.now() - TimeDelta::minutes(1);
    let mut tx = fixture.begin().await;
    list_two_streams(&fixture, &mut tx, at).await;
    let size = async |tx: &mut Tx| {
        let streams = cursors::list_unread(
            tx,
            &fixture.scope,
            fixture.id,
            "root",
            SystemClock.now(),
            false,
            10,
        )
        .await;
        streams.expect("streams").remove(0)
    };
    let fails = JobError::new("transient", "fails");
    for _ in 0..2 {
        cursors::record_failure(&mut tx, &fixture.scope, fixture.id, "a", &fails, None)
            .await
            .expect("recorded");
    }
    let mut stream = size(&mut tx).await;
    assert_eq!(
        (stream.spec.key.as_str(), stream.page_size.failures),
        ("a", 2)
    );
    stream.page_size = stream.page_size.after_page();
    let to = Advance {
        cursor: &json!({}),
        pending_upper_bound: Some(at),
        read_through: None,
        progress: 0.5,
        reconciled_through: None,
        reconcile_seconds: 60.0,
        answered_request: None,
    };
    let moved = cursors::advance(&mut tx, &fixture.scope, fixture.id, &stream, &to).await;
    assert!(moved.expect("advanced"));
    let stored_size = size(&mut tx).await.page_size;
    assert_eq!(stored_size, stream.page_size);
    assert_eq!((stored_size.failures, stored_size.halvings), (0, 1));
}
