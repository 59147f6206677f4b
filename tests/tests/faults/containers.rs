//! The container in which tests start Postgres where nothing else is at hand.

use std::process::{Command, Output};

use sqlx::PgPool;
use tests::harness::{PostgresContainer, eventually};

use super::{alone, on};

/// Says to a second run of this test that it is the process whose container is removed.
const INNER: &str = "POBLYSH_FAULTS_CONTAINER_INNER";
/// What that process says before the container's name.
const STARTED: &str = "container started: ";

/// What `docker` answers, where it succeeds.
fn docker(arguments: &[&str]) -> Option<Output> {
    let output = Command::new("docker").args(arguments).output().ok()?;
    output.status.success().then_some(output)
}

/// Says why nothing is tried. Unlike other faults this one may be left out everywhere: a container
/// engine is not among what `scripts/test` installs.
fn skip(why: &str) {
    eprintln!("containers: SKIPPED, because {why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn container_is_ready_and_ends_with_its_process() {
    if on(INNER) {
        let container = PostgresContainer::start().await;
        let pool = PgPool::connect(&container.url).await;
        let pool = pool.expect("it accepts connections at once");
        let one: i32 = sqlx::query_scalar("SELECT 1")
            .fetch_one(&pool)
            .await
            .expect("Postgres answers");
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
        return skip("its image cannot be pulled");
    }
    let inner = Command::new(std::env::current_exe().expect("a path"))
        .args([
            "--exact",
            "containers::container_is_ready_and_ends_with_its_process",
            "--nocapture",
        ])
        .env(INNER, "1")
        .output()
        .expect("the test runs once more");
    let said = String::from_utf8_lossy(&inner.stderr).into_owned();
    assert!(inner.status.success(), "{said}");
    let name = said.lines().find_map(|line| line.strip_prefix(STARTED));
    let name = name.unwrap_or_else(|| panic!("no container was started: {said}"));
    let filter = format!("name={name}");
    let listing = ["ps", "--all", "--quiet", "--filter", filter.as_str()];
    eventually("the container is removed", async || {
        docker(&listing).is_some_and(|listed| listed.stdout.is_empty())
    })
    .await;
}
