use super::*;
use crate::ids::WorkerId;
use crate::queue::Lane;

fn tenant(number: u128) -> TenantId {
    TenantId(Uuid::from_u128(number))
}

fn place(second: i64) -> Place {
    let at = DateTime::UNIX_EPOCH + TimeDelta::seconds(second);
    (at, JobId(Uuid::nil()))
}

fn request(limit: i64, per_tenant: i64) -> ClaimRequest {
    ClaimRequest {
        worker: WorkerId::generate(),
        lane: Lane::Others,
        limit,
        per_tenant,
        saturated: Vec::new(),
    }
}

fn lines(waiting: &[(u128, i16)]) -> Lines {
    let mut lines = Lines::default();
    for (number, priority) in waiting {
        lines.wait((tenant(*number), *priority), place(1).0);
    }
    lines
}

fn names(picks: &[Pick]) -> Vec<Line> {
    picks.iter().map(|pick| pick.line).collect()
}

#[test]
fn picks_go_round_the_tenants_with_the_most_urgent_line_of_each() {
    let mut lines = lines(&[(1, 20), (1, 10), (2, 50), (3, 20)]);
    lines.last = tenant(1);
    let taken = lines.begin();
    let picks = lines.picks(&request(10, 5), &taken);
    assert_eq!(
        names(&picks),
        [(tenant(2), 50), (tenant(3), 20), (tenant(1), 10)]
    );
    let mut saturated = request(10, 5);
    saturated.saturated.push(tenant(2));
    let picks = lines.picks(&saturated, &taken);
    assert_eq!(names(&picks), [(tenant(3), 20), (tenant(1), 10)]);
    let picks = lines.picks(&request(2, 5), &taken);
    assert_eq!(names(&picks), [(tenant(2), 50), (tenant(3), 20)]);
}

#[test]
fn what_a_claim_finds_moves_its_lines() {
    let mut lines = lines(&[(1, 10), (1, 20), (2, 10), (3, 10), (4, 10)]);
    let mut taken = lines.begin();
    let picks = lines.picks(&request(4, 2), &taken);
    // Two of the first, which may have more; none of the second; two of the third, with
    // which the claim is full; nobody looked at the fourth.
    let found = [
        ((tenant(1), 10), place(2)),
        ((tenant(1), 10), place(3)),
        ((tenant(3), 10), place(2)),
        ((tenant(3), 10), place(5)),
    ];
    lines.learn(&picks, &found, 4, &mut taken);
    assert_eq!((taken.jobs, lines.last), (4, tenant(3)));
    let since: Vec<_> = lines.heads.into_iter().collect();
    assert_eq!(
        since,
        [
            ((tenant(1), 10), place(3)),
            ((tenant(1), 20), place(1)),
            ((tenant(3), 10), place(5)),
            ((tenant(4), 10), place(1)),
        ]
    );
}

#[test]
fn what_was_passed_stays_passed_until_something_older_turns_up() {
    let mut lines = lines(&[(1, 10)]);
    let line = (tenant(1), 10);
    let passed = (place(1).0, JobId(Uuid::from_u128(7)));
    lines.heads.insert(line, passed);
    for later in [1, 2] {
        lines.wait(line, place(later).0);
        assert_eq!(lines.heads.get(&line), Some(&passed));
    }
    lines.wait(line, place(0).0);
    assert_eq!(lines.heads.get(&line), Some(&place(0)));
}

#[tokio::test]
async fn panic_of_a_survey_reaches_the_claim() {
    let mut lines = Lines {
        survey: Some(tokio::spawn(async { panic!("no survey") })),
        ..Lines::default()
    };
    let ended = tokio::spawn(async move {
        while lines.survey.is_some() {
            lines.end_survey().await;
            tokio::task::yield_now().await;
        }
    });
    assert!(ended.await.expect_err("a panic").is_panic());
}

#[tokio::test]
async fn what_a_survey_found_is_learnt_and_the_next_one_waits() {
    let mut lines = lines(&[]);
    let (began, line) = (Instant::now(), (tenant(1), 10));
    let waiting = Waiting {
        line,
        since: place(1).0,
        jobs: 1,
    };
    let found = Found {
        at: place(2).0,
        waiting: vec![waiting],
    };
    lines.survey = Some(tokio::spawn(async move {
        Survey {
            began,
            took: Duration::from_secs(1),
            found: Ok(found),
        }
    }));
    while lines.survey.is_some() {
        lines.end_survey().await;
        tokio::task::yield_now().await;
    }
    assert_eq!(lines.heads.get(&line), Some(&place(1)));
    assert_eq!(lines.next_survey, began + Duration::from_secs(20));
}

#[test]
fn a_tenants_next_line_follows_while_it_has_room() {
    let mut lines = lines(&[(1, 10), (1, 20), (2, 10)]);
    let request = request(10, 3);
    let mut taken = lines.begin();
    let picks = lines.picks(&request, &taken);
    let found = [((tenant(1), 10), place(2)), ((tenant(2), 10), place(2))];
    lines.learn(&picks, &found, 10, &mut taken);
    let next = lines.picks(&request, &taken);
    assert_eq!(names(&next), [(tenant(1), 20)]);
    assert_eq!(next.first().map(|pick| pick.most), Some(2), "of its three");
    lines.learn(&next, &[], 8, &mut taken);
    assert!(lines.heads.is_empty(), "all are known to be empty");
}
