//! Tests of the order of candidates and of both scans.

use super::*;
use crate::model::WorkerId;
use crate::queue::WorkClass;

fn tenant(number: u128) -> TenantId {
    TenantId(Uuid::from_u128(number))
}

fn position(second: i64) -> Position {
    let at = DateTime::UNIX_EPOCH + TimeDelta::seconds(second);
    (at, JobId(Uuid::nil()))
}

fn request(limit: i64, per_tenant: i64) -> ClaimRequest {
    ClaimRequest {
        worker: WorkerId::generate(),
        class: WorkClass::Background,
        limit,
        per_tenant,
        saturated: Vec::new(),
    }
}

fn index_of(partitions: &[(u128, i16)]) -> ClaimIndex {
    let mut index = ClaimIndex::default();
    for (number, priority) in partitions {
        index.add((tenant(*number), *priority), position(1).0);
    }
    index
}

fn partitions(candidates: &[Candidate]) -> Vec<Partition> {
    candidates
        .iter()
        .map(|candidate| candidate.partition)
        .collect()
}

#[test]
fn candidates_rotate_over_tenants_by_priority() {
    let mut index = index_of(&[(1, 20), (1, 10), (2, 50), (3, 20)]);
    index.last = tenant(1);
    let progress = index.start_claim();
    let candidates = index.candidates(&request(10, 5), &progress);
    assert_eq!(
        partitions(&candidates),
        [(tenant(2), 50), (tenant(3), 20), (tenant(1), 10)]
    );
    let mut saturated = request(10, 5);
    saturated.saturated.push(tenant(2));
    let candidates = index.candidates(&saturated, &progress);
    assert_eq!(partitions(&candidates), [(tenant(3), 20), (tenant(1), 10)]);
    let candidates = index.candidates(&request(2, 5), &progress);
    assert_eq!(partitions(&candidates), [(tenant(2), 50), (tenant(3), 20)]);
}

#[test]
fn claimed_jobs_advance_their_partitions() {
    let mut index = index_of(&[(1, 10), (1, 20), (2, 10), (3, 10), (4, 10)]);
    let mut progress = index.start_claim();
    let candidates = index.candidates(&request(4, 2), &progress);
    // Two jobs of the first partition, which may have more; none of the second; two of the third,
    // which reach the limit, so the fourth is not read.
    let found = [
        ((tenant(1), 10), position(2)),
        ((tenant(1), 10), position(3)),
        ((tenant(3), 10), position(2)),
        ((tenant(3), 10), position(5)),
    ];
    index.record_claimed(&candidates, &found, 4, &mut progress);
    assert_eq!((progress.jobs, index.last), (4, tenant(3)));
    let heads: Vec<_> = index.heads.into_iter().collect();
    assert_eq!(
        heads,
        [
            ((tenant(1), 10), position(3)),
            ((tenant(1), 20), position(1)),
            ((tenant(3), 10), position(5)),
            ((tenant(4), 10), position(1)),
        ]
    );
}

#[test]
fn head_moves_back_only_for_older_jobs() {
    let mut index = index_of(&[(1, 10)]);
    let partition = (tenant(1), 10);
    let head = (position(1).0, JobId(Uuid::from_u128(7)));
    index.heads.insert(partition, head);
    for later in [1, 2] {
        index.add(partition, position(later).0);
        assert_eq!(index.heads.get(&partition), Some(&head));
    }
    index.add(partition, position(0).0);
    assert_eq!(index.heads.get(&partition), Some(&position(0)));
}

#[tokio::test]
async fn panic_of_full_scan_reaches_the_claim() {
    let mut index = ClaimIndex {
        full_scan: Some(tokio::spawn(async { panic!("no full scan") })),
        ..ClaimIndex::default()
    };
    let ended = tokio::spawn(async move {
        while index.full_scan.is_some() {
            index.collect_full_scan().await;
            tokio::task::yield_now().await;
        }
    });
    assert!(ended.await.expect_err("a panic").is_panic());
}

#[tokio::test]
async fn full_scan_adds_partitions_and_delays_the_next() {
    let mut index = index_of(&[]);
    let (began, partition) = (Instant::now(), (tenant(1), 10));
    let due = DueJobs {
        partition,
        since: position(1).0,
        jobs: 1,
    };
    let found = Found {
        at: position(2).0,
        due: vec![due],
    };
    index.full_scan = Some(tokio::spawn(async move {
        FullScan {
            began,
            took: Duration::from_secs(1),
            found: Ok(found),
        }
    }));
    while index.full_scan.is_some() {
        index.collect_full_scan().await;
        tokio::task::yield_now().await;
    }
    assert_eq!(index.heads.get(&partition), Some(&position(1)));
    assert_eq!(index.next_full_scan, began + Duration::from_secs(20));
}

#[test]
fn next_partition_follows_while_tenant_has_capacity() {
    let mut index = index_of(&[(1, 10), (1, 20), (2, 10)]);
    let request = request(10, 3);
    let mut progress = index.start_claim();
    let candidates = index.candidates(&request, &progress);
    let found = [
        ((tenant(1), 10), position(2)),
        ((tenant(2), 10), position(2)),
    ];
    index.record_claimed(&candidates, &found, 10, &mut progress);
    let next = index.candidates(&request, &progress);
    assert_eq!(partitions(&next), [(tenant(1), 20)]);
    let limit = next.first().map(|candidate| candidate.limit);
    assert_eq!(limit, Some(2), "one of three is claimed");
    index.record_claimed(&next, &[], 8, &mut progress);
    assert!(
        index.heads.is_empty(),
        "all partitions are known to be empty"
    );
}
