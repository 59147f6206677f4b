//! Database roles: a process refuses to start when it cannot run as its own.

use sqlx::AssertSqlSafe;
use tests::harness::{OPERATOR_TOKEN, Process, TestDb, free_address};
use url::Url;
use uuid::Uuid;

use crate::settings::{KEY, run};

#[tokio::test(flavor = "multi_thread")]
async fn processes_refuse_to_start_as_another_role() {
    let db = TestDb::create().await;
    let role = format!("other_{}", Uuid::now_v7().simple());
    let execute = async |statement: String| {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(db.pool())
            .await
            .expect("superuser rights");
    };
    execute(format!("CREATE ROLE {role} LOGIN PASSWORD '{role}'")).await;
    let mut url = Url::parse(db.url()).expect("a URL");
    url.set_username(&role).expect("a name");
    url.set_password(Some(&role)).expect("a password");
    for (process, address) in [
        (Process::Api, "POBLYSH_API_BIND_ADDR"),
        (Process::Ingress, "POBLYSH_INGRESS_BIND_ADDR"),
        (Process::Worker, "POBLYSH_WORKER_BIND_ADDR"),
    ] {
        let output = run(
            process,
            &[
                ("POBLYSH_DATABASE_URL", url.as_str()),
                (address, &free_address().to_string()),
                ("POBLYSH_CRYPTO_KEY", KEY),
                ("POBLYSH_OPERATOR_TOKEN", OPERATOR_TOKEN),
            ],
        );
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{process:?}: {error}");
        assert!(
            error.contains("failed to open the database"),
            "{process:?}: {error}"
        );
    }
    execute(format!("DROP ROLE {role}")).await;
}
