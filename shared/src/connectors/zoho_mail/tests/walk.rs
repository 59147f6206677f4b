//! Positions that shift while a folder is read.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value;

use super::folder::{Folder, id, read, read_all, row};
use super::zoho_mail;

fn position(rows: &[Value], age: i64) -> usize {
    let found = rows.iter().position(|row| row["messageId"] == id(age));
    found.expect("a row")
}

#[tokio::test]
async fn arrivals_hide_no_row() {
    let (server, mail) = zoho_mail().await;
    let folder = Folder {
        cap: Some(5),
        ..Folder::of((1..=40).map(|age| age * 60))
    };
    folder.serve(&server).await;
    // Up to eight new mails after each of the first pages, more than a page has.
    let mut arrivals = [1, 3, 5, 8].into_iter();
    let mut newest = 0;
    let (found, cursor) = read_all(&mail, None, |_| {
        for _ in 0..arrivals.next().unwrap_or(0) {
            newest -= 1;
            folder.change(|rows| rows.insert(0, row(newest)));
        }
    })
    .await;
    let expected: BTreeSet<i64> = (1..=40).map(|age| age * 60).collect();
    assert!(found.is_superset(&expected), "{found:?}");
    assert_eq!(cursor["mark"]["id"], id(60), "of the first page");
}

#[tokio::test]
async fn deletions_hide_no_row() {
    for (cap, deleted) in [(5, 1), (5, 4), (5, 5), (5, 9), (20, 19)] {
        let (server, mail) = zoho_mail().await;
        let folder = Folder {
            cap: Some(cap),
            ..Folder::of((1..=40).map(|age| age * 60))
        };
        folder.serve(&server).await;
        let (found, _) = read_all(&mail, None, |page| {
            // The newest mails, which were read, move to another folder.
            if page == 2 {
                folder.change(|rows| drop(rows.drain(..deleted)));
            }
        })
        .await;
        assert_eq!(found.len(), 40, "{cap} {deleted}: {found:?}");
    }
}

#[tokio::test]
async fn deleted_anchor_hides_no_row() {
    let (server, mail) = zoho_mail().await;
    let folder = Folder {
        cap: Some(5),
        ..Folder::of((1..=40).map(|age| age * 60))
    };
    folder.serve(&server).await;
    let (found, _) = read_all(&mail, None, |page| {
        if page == 1 {
            folder.change(|rows| {
                let anchor = position(rows, 300);
                rows.remove(anchor);
            });
        }
    })
    .await;
    assert_eq!(found.len(), 40);
}

#[tokio::test]
async fn emptied_folder_ends_the_walk() {
    let (server, mail) = zoho_mail().await;
    let folder = Folder {
        cap: Some(5),
        ..Folder::of((1..=40).map(|age| age * 60))
    };
    folder.serve(&server).await;
    let (found, _) = read_all(&mail, None, |page| {
        if page == 3 {
            folder.change(Vec::clear);
        }
    })
    .await;
    assert_eq!(
        found.len(),
        13,
        "three pages, two of which begin with an anchor"
    );
}

#[tokio::test]
async fn rows_of_one_millisecond_are_all_read() {
    let (server, mail) = zoho_mail().await;
    let folder = Folder {
        cap: Some(3),
        ..Folder::default()
    };
    folder.change(|rows| {
        for number in 0..10 {
            let mut mail = row(60);
            mail["messageId"] = id(number).into();
            rows.push(mail);
        }
    });
    folder.serve(&server).await;
    let (found, _) = read_all(&mail, None, |page| {
        if page == 2 {
            // One that was read: the rest moves up, and only an id can show it.
            folder.change(|rows| drop(rows.remove(0)));
        }
    })
    .await;
    assert_eq!(found, (0..10).collect());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Mails that are in the folder all the time are found, whatever happens to the others.
    #[test]
    fn resident_mails_are_always_found(
        count in 1_i64..60,
        cap in 2_usize..12,
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..4, 0_i64..6), 0..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let (server, mail) = zoho_mail().await;
            let folder = Folder { cap: Some(cap), ..Folder::of(1..=count) };
            folder.serve(&server).await;
            let mut residents: BTreeSet<String> = (1..=count).map(id).collect();
            let mut changes = changes.into_iter();
            let mut newest = 0;
            let (found, _) = read_all(&mail, None, |_| {
                let Some((at, deleted, arrived)) = changes.next() else { return };
                folder.change(|rows| {
                    for _ in 0..deleted.min(rows.len()) {
                        let gone = rows.remove(at.index(rows.len()));
                        residents.remove(gone["messageId"].as_str().expect("an id"));
                    }
                    for _ in 0..arrived {
                        newest -= 1;
                        rows.insert(0, row(newest));
                    }
                });
            })
            .await;
            let found: BTreeSet<String> = found.into_iter().map(id).collect();
            let missing: Vec<_> = residents.difference(&found).collect();
            assert!(missing.is_empty(), "{missing:?}");
        });
    }
}

#[tokio::test]
async fn smaller_page_after_failures_still_advances() {
    let (server, mail) = zoho_mail().await;
    Folder::of([60, 120, 180]).serve(&server).await;
    let mut cursor = None;
    let mut pages = 0;
    loop {
        let mut request = super::folder::request("folder:7002", cursor.take());
        request.failures = 9;
        let page = crate::connectors::Connector::sync(&mail, request).await;
        let page = page.expect("a page");
        pages += 1;
        if !page.has_more {
            break;
        }
        assert!(pages < 10, "the walk does not end");
        cursor = Some(page.cursor);
    }
    assert_eq!(pages, 3);
    let page = read(&mail, None).await;
    assert_eq!(page.signals.len(), 3);
}
