//! Tests of the stored form of jobs, and of the table of kinds.

use serde_json::json;

use super::*;

#[test]
fn stored_payloads_keep_their_format() {
    let delivery = DeliveryId::at(1_800_000_000_000);
    for (payload, stored) in [
        (
            JobPayload::from(ProcessDeliveries {
                deliveries: vec![delivery],
            }),
            json!({"kind": "process_deliveries", "deliveries": [delivery]}),
        ),
        (
            RematchDeliveries {
                account_id: "a".to_owned(),
            }
            .into(),
            json!({"kind": "rematch_deliveries", "account_id": "a"}),
        ),
        (
            FanOutDelivery { delivery }.into(),
            json!({"kind": "fan_out_delivery", "delivery": delivery}),
        ),
        (
            SyncConnection {
                mode: SyncMode::Full,
                upper_bound: None,
                requested_only: false,
            }
            .into(),
            json!({"kind": "sync_connection", "mode": "full"}),
        ),
        (
            SyncConnection {
                mode: SyncMode::Incremental,
                upper_bound: None,
                requested_only: true,
            }
            .into(),
            json!({"kind": "sync_connection", "mode": "incremental", "requested_only": true}),
        ),
        (RefreshToken {}.into(), json!({"kind": "refresh_token"})),
        (
            RunBulkAction {
                action: BulkAction::Retry(JobSelection {
                    kind: Some(JobKind::SyncConnection),
                    ..JobSelection::default()
                }),
                progress: BulkProgress::default(),
            }
            .into(),
            json!({
                "kind": "run_bulk_action",
                "action": "retry",
                "filter": {"kind": "sync_connection"},
                "progress": {"matched": null, "done": 0, "failed": 0, "position": null},
            }),
        ),
    ] {
        assert_eq!(json!(payload), stored);
        assert_eq!(JobPayload::decode(payload.kind(), &stored), payload);
    }
    // Arguments that a later release adds do not hide the known ones.
    let later = json!({"kind": "confirm_grant", "reason": "revoked"});
    let payload = JobPayload::decode(JobKind::ConfirmGrant, &later);
    assert_eq!(payload, ConfirmGrant::default().into());
}

#[test]
fn same_bulk_action_has_one_window() {
    let window = |done, provider: &str| {
        let job = RunBulkAction {
            action: BulkAction::Retry(JobSelection {
                provider: Some(provider.to_owned()),
                ..JobSelection::default()
            }),
            progress: BulkProgress {
                done,
                ..BulkProgress::default()
            },
        };
        JobPayload::from(job).window("", None)
    };
    assert_eq!(window(0, "github"), window(7, "github"));
    assert_ne!(window(0, "github"), window(0, "slack"));
}

#[test]
fn payload_of_another_kind_is_unreadable() {
    let deliveries = vec![DeliveryId::at(1_800_000_000_000)];
    let stored = json!({"kind": "next_kind", "deliveries": deliveries});
    let payload = JobPayload::decode(JobKind::RefreshToken, &stored);
    assert_eq!(payload.kind(), JobKind::RefreshToken);
    assert_eq!(payload.deliveries(), deliveries);
    let refresh = json!({"kind": "refresh_token"});
    let payload = JobPayload::decode(JobKind::ConfirmGrant, &refresh);
    assert!(matches!(payload, JobPayload::Unreadable { .. }));
}

#[test]
fn each_work_class_has_its_kinds() {
    assert_eq!(WorkClass::Deliveries.kinds(), [JobKind::ProcessDeliveries]);
    let all = WorkClass::Background.kinds().len() + 1;
    assert_eq!(all, JobKind::VARIANTS.len());
}
