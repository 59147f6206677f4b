//! The Postgres container that tests start if no other server is available.

use std::process::{Command, Output};

use sqlx::PgPool;
use tests::harness::{PostgresContainer, eventually};

use super::{alone, is_set};

/// Marks the inner run of this test: the process whose container must be removed.
const INNER: &str = "POBLYSH_FAULTS_CONTAINER_INNER";
/// The output of the inner run before the container's name.
const STARTED: &str = "container started: ";

/// The output of a `docker` command, if it succeeds.
fn docker(arguments: &[&str]) -> Option<Output> {
    let output = Command::new("docker").args(arguments).output().ok()?;
    output.status.success().then_some(output)
}

/// Reports that the test is skipped.
///
/// CI may skip it, because `scripts/test` installs no container engine.
fn skip(why: &str) {
    eprintln!("containers: SKIPPED, because {why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn container_is_ready_and_ends_with_its_process() {
    if is_set(INNER) {
        let container = PostgresContainer::start().await;
        let pool = PgPool::connect(&container.url).await;
        let pool = pool.expect("it accepts connections immediately");
        let one: i32 = sqlx::query_scalar("SELECT 1")
            .fetch_one(&pool)
            .await
            .expect("the query result");
        assert_eq!(one, 1);
        eprintln!("{STARTED}{}", container.name);
        return;
    }
    let _alone = alone().await;
    if docker(&["info"]).is_none() {
        return skip("no Docker engine is reachable");
    }
    let image = format!("{}:{}", PostgresContainer::IMAGE, PostgresContainer::TAG);
    if docker(&["pull", "--quiet", &image]).is_none() {
        return skip("the image cannot be pulled");
    }
    let inner = Command::new(std::env::current_exe().expect("a path"))
        .args([
            "--exact",
            "containers::container_is_ready_and_ends_with_its_process",
            "--nocapture",
        ])
        .env(INNER, "1")
        .output()
        .expect("the inner run starts");
    let output = String::from_utf8_lossy(&inner.stderr).into_owned();
    assert!(inner.status.success(), "{output}");
    let name = output.lines().find_map(|line| line.strip_prefix(STARTED));
    let name = name.unwrap_or_else(|| panic!("no container was started: {output}"));
    let filter = format!("name={name}");
    let listing = ["ps", "--all", "--quiet", "--filter", filter.as_str()];
    eventually("the container is removed", async || {
        docker(&listing).is_some_and(|listed| listed.stdout.is_empty())
    })
    .await;
}
