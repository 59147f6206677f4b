//! The audit log: operators' names, filters, tenants.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::{Api, As, ids};

const PATH: &str = "/v1/audit-log";

/// The actions and the names of their actors.
fn acts(log: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let entries = log["entries"].as_array().expect("a list").iter();
    entries
        .map(|entry| (text(&entry["action"]), text(&entry["actor"]["name"])))
        .collect()
}

#[tokio::test]
async fn acts_are_logged_with_operators_names() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let connection = api.connection(&acme).await;
    let (ada_id, ada) = api.named_operator("Ada", "admin").await;
    let (_, grace) = api.named_operator("Grace", "operator").await;
    let path = format!("/v1/connections/{connection}");
    let pause = json!({ "status": "paused" });
    api.patch(&path, As::Token(&grace, acme.id), &pause)
        .await
        .ok();
    let resume = json!({ "status": "active" });
    api.patch(&path, As::Token(&ada, acme.id), &resume)
        .await
        .ok();
    let pause_by_key = api.patch(&path, acme.auth(), &pause).await;
    pause_by_key.ok();
    api.post("/v1/tenants", As::Key(&ada), &json!({ "name": "Other" }))
        .await
        .ok();

    let log = api.get(PATH, As::OperatorOf(acme.id)).await.ok();
    let expected = [
        ("connection.paused", ""),
        ("connection.resumed", "Ada"),
        ("connection.paused", "Grace"),
        ("api_key.created", "bootstrap"),
        ("tenant.created", "bootstrap"),
    ];
    let expected = expected.map(|(action, name)| (action.to_owned(), name.to_owned()));
    assert_eq!(acts(&log), expected);
    let first = &log["entries"][0];
    assert_eq!(first["actor"]["kind"], "api_key");
    assert_eq!(first["tenant_id"], json!(acme.id));
    assert_eq!(first["target"], json!(connection));

    // Over all tenants, with the changes to operators.
    let all = acts(&api.get(PATH, As::Key(&grace)).await.ok());
    assert_eq!(all[0], ("tenant.created".to_owned(), "Ada".to_owned()));
    let created = ("operator.created".to_owned(), "bootstrap".to_owned());
    assert_eq!(all.iter().filter(|act| **act == created).count(), 2);
    for (query, count) in [
        ("action=connection.paused".to_owned(), 2),
        (format!("target={connection}"), 3),
        (format!("operator_id={ada_id}"), 2),
        (format!("operator_id={ada_id}&action=tenant.created"), 1),
        (format!("target={}", Uuid::now_v7()), 0),
    ] {
        let found = api.get(&format!("{PATH}?{query}"), As::Operator).await.ok();
        assert_eq!(acts(&found).len(), count, "{query}");
    }
    let service = api.get(PATH, As::OperatorOf(Uuid::nil())).await.ok();
    assert_eq!(acts(&service), [created.clone(), created]);
}

#[tokio::test]
async fn log_is_paginated_and_for_operators_only() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let mut all = ids(&api.get(PATH, As::Operator).await.ok()["entries"]);
    assert_eq!(all.len(), 2);
    let mut path = format!("{PATH}?limit=1");
    loop {
        let page = api.get(&path, As::Operator).await.ok();
        let own = ids(&page["entries"]);
        assert_eq!(own.len(), 1);
        assert_eq!(own[0], all.remove(0));
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("{PATH}?limit=1&cursor={cursor}");
    }
    assert!(all.is_empty());
    api.get(PATH, acme.auth())
        .await
        .is_problem(403, "operator_only");
    api.get(PATH, As::Anonymous)
        .await
        .is_problem(401, "unauthorized");
    let unknown = api.get(PATH, As::OperatorOf(Uuid::now_v7())).await;
    unknown.is_problem(404, "tenant_not_found");
    for query in ["action=paused", "action=A.b", "target=x", "actor=Ada"] {
        let rejected = api.get(&format!("{PATH}?{query}"), As::Operator).await;
        rejected.is_problem(400, "invalid_parameters");
    }
}
