//! Facts that deliveries missed, and the poll interval that follows from their number.

use shared::clock::{Clock, SystemClock};
use shared::db::{connections, cursors};

use super::{Fixture, list_two_streams};

/// Ends a run whose slices have found these numbers of missed facts.
async fn end_run(fixture: &Fixture, missed_in_slices: &[i64]) {
    for missed in missed_in_slices {
        let mut tx = fixture.begin().await;
        cursors::record_missed(&mut tx, &fixture.scope, fixture.id, "a", *missed, None)
            .await
            .expect("recorded");
        tx.commit().await.expect("committed");
        let mut tx = fixture.begin().await;
        connections::record_missed(&mut tx, &fixture.scope, fixture.id)
            .await
            .expect("recorded");
        tx.commit().await.expect("committed");
    }
    let mut tx = fixture.begin().await;
    connections::adapt_poll_interval(&mut tx, &fixture.scope, fixture.id)
        .await
        .expect("adapted");
    tx.commit().await.expect("committed");
}

#[tokio::test]
async fn poll_interval_shrinks_temporarily_after_missed_deliveries() {
    let fixture = Fixture::new().await;
    let mut tx = fixture.begin().await;
    list_two_streams(&fixture, &mut tx, SystemClock.now()).await;
    tx.commit().await.expect("committed");
    for (missed, seconds) in [
        (3, 300),
        (4, 150),
        (40, 75),
        (40, 37),
        (40, 37),
        (2, 37),
        (0, 75),
        (0, 150),
        (0, 300),
        (0, 300),
    ] {
        end_run(&fixture, &[missed]).await;
        let connection = fixture.connection().await;
        assert_eq!(
            connection.effective_poll_interval_seconds, seconds,
            "{missed}"
        );
    }
    let connection = fixture.connection().await;
    assert_eq!(connection.missed_count, 129);
    assert!(connection.missed_at.is_some());
}

#[tokio::test]
async fn missed_facts_are_summed_over_slices_of_run() {
    let fixture = Fixture::new().await;
    let mut tx = fixture.begin().await;
    list_two_streams(&fixture, &mut tx, SystemClock.now()).await;
    tx.commit().await.expect("committed");
    for (slices, seconds) in [
        ([40, 0].as_slice(), 150),
        ([2, 0, 2].as_slice(), 75),
        ([1, 2].as_slice(), 75),
        ([0, 0].as_slice(), 150),
    ] {
        end_run(&fixture, slices).await;
        let connection = fixture.connection().await;
        assert_eq!(
            connection.effective_poll_interval_seconds, seconds,
            "{slices:?}"
        );
    }
    assert_eq!(fixture.connection().await.missed_count, 47);
}

#[tokio::test]
async fn missed_facts_of_failed_slice_are_counted_later() {
    let fixture = Fixture::new().await;
    let mut tx = fixture.begin().await;
    list_two_streams(&fixture, &mut tx, SystemClock.now()).await;
    cursors::record_missed(&mut tx, &fixture.scope, fixture.id, "b", 5, None)
        .await
        .expect("recorded");
    tx.commit().await.expect("committed");
    assert_eq!(
        fixture.connection().await.missed_count,
        0,
        "the slice has not ended"
    );
    end_run(&fixture, &[0]).await;
    let connection = fixture.connection().await;
    assert_eq!(connection.missed_count, 5);
    assert_eq!(connection.effective_poll_interval_seconds, 150);
    end_run(&fixture, &[0]).await;
    assert_eq!(fixture.connection().await.missed_count, 5, "counted once");
}
