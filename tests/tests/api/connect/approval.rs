//! An organization is connected by an administrator; requests of members wait for approval.

use reqwest::Method;
use serde_json::{Value, json};
use shared::db::TenantScope;
use shared::db::retention::{self, Retention};
use tests::harness::{System, Tenant};

use super::browser::{Browser, param, without_query};
use super::{connections, link, start};

/// An organization with an admin and a member who is not an admin.
struct Organization {
    login: String,
    admin: String,
    member: String,
}

async fn organizations(system: &System) -> Vec<Organization> {
    let url = format!("{}/_sim/github/accounts", system.simulator.base_url());
    let response = system.client.get(url).send().await.expect("a response");
    let known: Value = response.json().await.expect("JSON");
    let accounts = known["accounts"].as_array().expect("a list");
    accounts
        .iter()
        .filter_map(|account| {
            let members = account["members"].as_array()?;
            let member = members.iter().find(|one| **one != account["admin"])?;
            Some(Organization {
                login: account["login"].as_str()?.to_owned(),
                admin: account["admin"].as_str()?.to_owned(),
                member: member.as_str()?.to_owned(),
            })
        })
        .collect()
}

/// A callback that claims the organization's installation in a flow of this link.
async fn claim(browser: &mut Browser<'_>, link: &url::Url, installation: &str) -> url::Url {
    let page = browser.continue_from_page(link).await;
    let state = param(&page, "state").expect("a state");
    let mut callback = without_query(link);
    callback.set_path("/v1/connect/github/callback");
    callback
        .query_pairs_mut()
        .append_pair("installation_id", installation)
        .append_pair("setup_action", "update")
        .append_pair("state", &state);
    callback
}

/// Installs the app in the organization; returns the installation's id.
async fn install_app(system: &System, acme: &Tenant<'_>, organization: &Organization) -> String {
    let mut owner = Browser::signed_in(system, &organization.admin);
    let redirect = owner
        .install_app(&link(acme, json!({})).await, &organization.login)
        .await;
    param(&redirect, "installation_id").expect("an installation")
}

async fn is_installed(system: &System, installation: &str) -> bool {
    let log: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM audit_log WHERE action = 'connection.disconnected' \
           AND (detail->>'revoked')::boolean",
    )
    .fetch_one(system.db.pool())
    .await
    .expect("the audit log");
    let state = system.client.get(format!(
        "{}/_sim/github/accounts",
        system.simulator.base_url()
    ));
    let accounts: Value = state
        .send()
        .await
        .expect("a response")
        .json()
        .await
        .expect("JSON");
    log == 0 && accounts.to_string().contains(installation)
}

#[tokio::test]
async fn organization_member_creates_no_active_connection() {
    let system = start().await;
    let (acme, mallory) = (system.tenant("Acme").await, system.tenant("Mallory").await);
    let organization = organizations(&system).await.remove(0);
    let installation = install_app(&system, &acme, &organization).await;
    let mut browser = Browser::signed_in(&system, &organization.member);
    let opened = link(&mallory, json!({})).await;
    for _ in 0..2 {
        let callback = claim(&mut browser, &opened, &installation).await;
        let connection = browser.complete_flow(&callback).await.ok()["connection"].clone();
        assert_eq!(connection["status"], "pending");
        assert_eq!(connection["account"], Value::Null);
        assert_eq!(
            connection["approval"]["account_name"],
            json!(organization.login)
        );
        assert!(connection["approval"]["expires_at"].is_string());
    }
    assert_eq!(connections(&mallory, "pending").await, 1);
    assert_eq!(connections(&mallory, "active").await, 0);

    // Deleting the pending connection leaves the app installed.
    let list = mallory.get("/v1/connections").await;
    let id = list["connections"][0]["id"].as_str().expect("an id");
    let path = format!("/v1/connections/{id}");
    let deleted = mallory.request(Method::DELETE, &path, None).await;
    assert_eq!(deleted.status(), 204);

    // The organization's admin can connect it to another tenant.
    let mut owner = Browser::signed_in(&system, &organization.admin);
    let callback = claim(&mut owner, &link(&acme, json!({})).await, &installation).await;
    let connection = owner.complete_flow(&callback).await.ok()["connection"].clone();
    assert_eq!(connection["status"], "active");
    assert_eq!(connection["approval"], Value::Null);
}

#[tokio::test]
async fn admin_approves_with_the_same_link() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let organization = organizations(&system).await.remove(0);
    let installation = install_app(&system, &acme, &organization).await;
    let opened = link(&acme, json!({})).await;
    let mut member = Browser::signed_in(&system, &organization.member);
    let callback = claim(&mut member, &opened, &installation).await;
    let pending = member.complete_flow(&callback).await.ok()["connection"].clone();
    // Hours later the link is still valid.
    for table in ["oauth_states", "connect_links"] {
        let later = format!("UPDATE {table} SET expires_at = expires_at - interval '2 hours'");
        sqlx::query(sqlx::AssertSqlSafe(later))
            .execute(system.db.pool())
            .await
            .expect("an update");
    }
    let mut admin = Browser::signed_in(&system, &organization.admin);
    let page = admin.get(&opened).await;
    let text = page.body.as_str().expect("a page");
    assert!(
        text.contains(&organization.login),
        "the page names the organization"
    );
    let callback = claim(&mut admin, &opened, &installation).await;
    let approved = admin.complete_flow(&callback).await.ok()["connection"].clone();
    assert_eq!(approved["status"], "active");
    assert_eq!(approved["id"], pending["id"]);
    assert_eq!(approved["account"]["name"], json!(organization.login));
    admin.get(&opened).await.is_problem(403, "invalid_state");
}

#[tokio::test]
async fn repeated_requests_share_one_pending_connection() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let organization = organizations(&system).await.remove(0);
    let mut browser = Browser::signed_in(&system, &organization.member);
    for _ in 0..2 {
        let callback = browser
            .install_app(&link(&acme, json!({})).await, &organization.login)
            .await;
        assert_eq!(param(&callback, "setup_action").as_deref(), Some("request"));
        let response = browser.complete_flow(&callback).await.ok();
        assert_eq!(response["connection"]["status"], "pending");
        assert_eq!(response["connection"]["account"], Value::Null);
    }
    assert_eq!(connections(&acme, "pending").await, 1);
}

#[tokio::test]
async fn app_without_members_permission_proves_no_administrator() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let organization = organizations(&system).await.remove(0);
    let settings = format!("{}/_sim/github/settings", system.simulator.base_url());
    let response = system
        .client
        .post(settings)
        .json(&json!({ "permissions": { "metadata": "read", "issues": "read" } }))
        .send()
        .await
        .expect("a response");
    assert!(response.status().is_success(), "{}", response.status());
    let mut admin = Browser::signed_in(&system, &organization.admin);
    let callback = admin
        .install_app(&link(&acme, json!({})).await, &organization.login)
        .await;
    let connection = admin.complete_flow(&callback).await.ok()["connection"].clone();
    assert_eq!(connection["status"], "pending");
    assert_eq!(connections(&acme, "active").await, 0);
}

#[tokio::test]
async fn unproved_connection_never_uninstalls_the_app() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let organization = organizations(&system).await.remove(0);
    let mut admin = Browser::signed_in(&system, &organization.admin);
    let callback = admin
        .install_app(&link(&acme, json!({})).await, &organization.login)
        .await;
    let installation = param(&callback, "installation_id").expect("an installation");
    let id = admin.complete_flow(&callback).await.ok()["connection"]["id"].clone();
    let id = id.as_str().expect("an id");
    // As in a connection without a stored proof.
    sqlx::query("UPDATE connections SET administrator = NULL, administrator_proved_at = NULL")
        .execute(system.db.pool())
        .await
        .expect("an update");
    let path = format!("/v1/connections/{id}");
    let deleted = acme.request(Method::DELETE, &path, None).await;
    assert_eq!(deleted.status(), 204);
    assert!(is_installed(&system, &installation).await);
}

#[tokio::test]
async fn approval_expires_with_its_connection() {
    let system = start().await;
    let acme = system.tenant("Acme").await;
    let organization = organizations(&system).await.remove(0);
    let mut browser = Browser::signed_in(&system, &organization.member);
    let callback = browser
        .install_app(&link(&acme, json!({})).await, &organization.login)
        .await;
    browser.complete_flow(&callback).await.ok();
    sqlx::query("UPDATE connections SET pending_until = now() - interval '1 minute'")
        .execute(system.db.pool())
        .await
        .expect("an update");
    let (worker, scope) = (system.db.as_worker(1), TenantScope::unassigned());
    let retention = Retention {
        delivery_days: 30,
        job_days: 30,
    };
    retention::apply(|| Box::pin(worker.begin(&scope)), retention)
        .await
        .expect("retention");
    let list = acme.get("/v1/connections").await;
    let ended = &list["connections"][0];
    assert_eq!(ended["status"], "disconnected");
    assert_eq!(ended["status_reason"], "approval_expired");
}
