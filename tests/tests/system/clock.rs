//! Agreement of all clocks, also under the fake clock of `scripts/test --clock-factor`.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use shared::clock::{Clock, SystemClock};
use tests::harness::{Process, System, setting};

/// Time in the `Date` header of a process's response, in whole seconds.
async fn read_date(system: &System, process: Process) -> DateTime<Utc> {
    let address = system.processes().await.addresses(process)[0];
    let url = format!("http://{address}/readyz");
    let response = system.client.get(url).send().await.expect("a response");
    let date = response.headers()["date"].to_str().expect("text");
    let date = DateTime::parse_from_rfc2822(date);
    date.expect("a date of HTTP").to_utc()
}

async fn read_postgres_clock(system: &System) -> DateTime<Utc> {
    sqlx::query_scalar("SELECT clock_timestamp()")
        .fetch_one(system.db.pool())
        .await
        .expect("the query result")
}

async fn read_simulator_clock(system: &System) -> DateTime<Utc> {
    let url = format!("{}/_sim/state", system.simulator.base_url());
    let response = system.client.get(url).send().await.expect("a response");
    let state: Value = response.json().await.expect("JSON");
    let time = state["time"].as_str().expect("a time");
    time.parse().expect("a timestamp")
}

/// Seconds since the machine started: a file's content, which no preloaded library changes.
fn uptime() -> f64 {
    let text = std::fs::read_to_string("/proc/uptime").expect("on Linux");
    let seconds = text.split(' ').next().expect("two numbers");
    seconds.parse().expect("a number")
}

/// Asserts that a clock agrees with this process's clock, to the second.
async fn assert_agrees(clock: &str, time: impl Future<Output = DateTime<Utc>>) {
    let before = SystemClock.now();
    let time = time.await;
    let after = SystemClock.now();
    let second = TimeDelta::seconds(1);
    assert!(
        time > before - second && time < after + second,
        "{clock}: {time} is not between {before} and {after}"
    );
}

/// Asserts that this process's clocks and Postgres run `factor` times as fast as real time.
async fn assert_runs_faster(system: &System, factor: u32) {
    let (real, wall, monotonic) = (uptime(), SystemClock.now(), Instant::now());
    let factor = f64::from(factor);
    // One second of real time.
    sqlx::query("SELECT pg_sleep($1)")
        .bind(factor)
        .execute(system.db.pool())
        .await
        .expect("the query result");
    let real = uptime() - real;
    let wall = (SystemClock.now() - wall).as_seconds_f64();
    let monotonic = monotonic.elapsed().as_secs_f64();
    assert!(real < factor, "Postgres slept for {real} s of real time");
    for (clock, passed) in [("wall", wall), ("monotonic", monotonic)] {
        let rate = passed / real;
        assert!(
            (rate / factor - 1.0).abs() < 0.1,
            "the {clock} clock runs {rate} times as fast as real time, not {factor}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_process_shows_the_same_time() {
    let system = System::builder().out_of_process().start().await;
    let factor = setting("POBLYSH_TEST_CLOCK_FACTOR", 1);
    if factor > 1 {
        assert_runs_faster(&system, factor).await;
    }
    assert_agrees("Postgres", read_postgres_clock(&system)).await;
    assert_agrees("the simulator", read_simulator_clock(&system)).await;
    for process in [Process::Api, Process::Ingress, Process::Worker] {
        assert_agrees(&format!("{process:?}"), read_date(&system, process)).await;
    }
}
