//! Google Drive, Google Calendar and Gmail.

use serde_json::json;
use tests::harness::{Process, System};

use crate::account::ConnectedAccount;

pub(crate) async fn google_drive(system: &System) {
    system
        .simulator
        .change_google_drive(|drive| drive.max_page_size = 20);
    let account = system.accounts_at("google_drive").await.remove(0);
    let connected = ConnectedAccount::connect(system, "google_drive", account).await;
    connected
        .resolve_directory(json!([{ "kind": "drive", "id": "0A00000000000000PVA" }]))
        .await;
    connected.use_everything().await;
    connected.finish().await;
}

pub(crate) async fn google_calendar(system: &System) {
    system
        .simulator
        .change_google_calendar(|calendar| calendar.max_page_size = 20);
    let account = system.accounts_at("google_calendar").await.remove(0);
    let connected = ConnectedAccount::connect(system, "google_calendar", account).await;
    connected.use_everything().await;
    connected.finish().await;
}

pub(crate) async fn gmail(system: &System) {
    system.simulator.change_gmail(|gmail| {
        (gmail.max_page_size, gmail.notification_milliseconds) = (20, 0);
    });
    let account = system.accounts_at("gmail").await.remove(0);
    let connected = ConnectedAccount::connect(system, "gmail", account).await;
    // Pushes are signed with a key that the ingress does not know yet. A new process fetches the keys
    // at once, the old one once per minute.
    system.sim("google/keys", json!({ "rotate": true })).await;
    let mut processes = system.processes().await;
    processes.kill_and_restart(Process::Ingress).await;
    drop(processes);
    connected.use_everything().await;
    connected.finish().await;
}
