//! The database: sessions in each process's role, version, lz4, roles, schema and clock.

use std::io;

use chrono::TimeDelta;
use migrations::commands::compare;
use shared::clock::{Clock, SystemClock};
use shared::config::{DatabaseConfig, Env, Process, Reader};
use shared::connectors::Finding;
use shared::db::installation::{self, Server};
use shared::db::{Db, DbError, Role};

use super::report::Report;

const AREA: &str = "database";
/// The oldest supported version of PostgreSQL, as `server_version_num`.
const MIN_VERSION: i32 = 150_000;
/// A difference of clocks above which people would misread times.
const MAX_SKEW: TimeDelta = TimeDelta::seconds(5);
/// A difference of clocks above which providers reject signatures and tokens.
const REJECTED_SKEW: TimeDelta = TimeDelta::seconds(60);

const APPLY: &str = "Run `poblysh migrate up` as the owner of the database.";

/// The database as the checked processes see it.
pub(super) struct Database {
    processes: Vec<(Process, Result<Db, Finding>)>,
    server: Option<Result<Server, Finding>>,
}

impl Database {
    /// Opens a session in the role of each process, and reads the facts about the server.
    pub(super) async fn open(env: &Env, processes: &[Process]) -> Self {
        let mut opened = Vec::new();
        for process in processes {
            opened.push((*process, open(env, *process).await));
        }
        let first = opened.iter().find_map(|(_, db)| db.as_ref().ok());
        let server = match first {
            Some(db) => Some(
                installation::read_server(db)
                    .await
                    .map_err(|error| unreadable(&error)),
            ),
            None => None,
        };
        Self {
            processes: opened,
            server,
        }
    }

    /// The database in the api-server's role, which reads all tenants.
    pub(super) fn api(&self) -> Option<&Db> {
        let mut processes = self.processes.iter();
        let (_, db) = processes.find(|(process, _)| *process == Process::Api)?;
        db.as_ref().ok()
    }

    /// The facts about the server, if it was reachable.
    pub(super) fn server(&self) -> Option<&Server> {
        self.server.as_ref()?.as_ref().ok()
    }

    pub(super) fn report(&self, report: &mut Report) -> io::Result<()> {
        for (process, db) in &self.processes {
            let finding = match db {
                Ok(_) => {
                    let name = role(*process).name();
                    Finding::ok(process.name(), format!("works in the role {name}"))
                }
                Err(finding) => finding.clone(),
            };
            report.add(AREA, finding)?;
        }
        match &self.server {
            None => Ok(()),
            Some(Err(finding)) => report.add(AREA, finding.clone()),
            Some(Ok(server)) => {
                report.add(AREA, check_version(server))?;
                report.add(AREA, check_compression(server))?;
                report.add(AREA, check_roles(server))?;
                report.add(AREA, check_schema(server))?;
                let difference = server.clock_difference(SystemClock.now());
                report.add(AREA, check_clock(difference))
            }
        }
    }
}

async fn open(env: &Env, process: Process) -> Result<Db, Finding> {
    let subject = process.name();
    let mut reader = Reader::new(env);
    let config = DatabaseConfig::for_process(&mut reader, process);
    if reader.finish().is_err() {
        return Err(Finding::failure(
            subject,
            "not checked, because the settings of the database are invalid",
            "Correct the settings of the database; `poblysh doctor --only settings` names them.",
        ));
    }
    let role = role(process);
    let failed = |error| session_failure(subject, role, &error);
    let db = Db::open(&config, role).map_err(failed)?;
    db.check_role(role).await.map_err(failed)?;
    Ok(db)
}

fn session_failure(subject: &'static str, role: Role, error: &DbError) -> Finding {
    let name = role.name();
    let causes = chain(error);
    let cure = match error {
        // The server's own words; a URL is never among them.
        _ if causes.contains("authentication failed") => {
            "Set user and password of the database URL as PostgreSQL has them.".to_owned()
        }
        DbError::Unavailable(_) => {
            "Check that PostgreSQL runs, and host and port of the database URL.".to_owned()
        }
        DbError::Role(_) => format!(
            "Let the user of the database URL be {name} or a member of it, and no superuser."
        ),
        _ => format!("{APPLY} It creates the role {name}; the user of the URL must be a member."),
    };
    let message = format!("cannot work in the role {name}: {causes}");
    Finding::failure(subject, message, cure)
}

fn unreadable(error: &DbError) -> Finding {
    Finding::failure("server", format!("not readable: {}", chain(error)), APPLY)
}

/// An error with its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

const fn role(process: Process) -> Role {
    match process {
        Process::Api => Role::Api,
        Process::Ingress => Role::Ingress,
        Process::Worker => Role::Worker,
    }
}

fn check_version(server: &Server) -> Finding {
    let message = format!("PostgreSQL {}", server.version);
    if server.version_num >= MIN_VERSION {
        return Finding::ok("version", message);
    }
    Finding::failure("version", message, "Upgrade to PostgreSQL 15 or newer.")
}

fn check_compression(server: &Server) -> Finding {
    if server.has_lz4 {
        return Finding::ok("lz4", "the server compresses with lz4");
    }
    Finding::failure(
        "lz4",
        "the server was built without lz4, which the schema requires",
        "Use a build of PostgreSQL with lz4; distributions' packages have it.",
    )
}

fn check_roles(server: &Server) -> Finding {
    if server.missing_roles.is_empty() {
        return Finding::ok("roles", "all four roles exist");
    }
    let missing = server.missing_roles.join(", ");
    Finding::failure("roles", format!("missing: {missing}"), APPLY)
}

fn check_schema(server: &Server) -> Finding {
    const SUBJECT: &str = "schema";
    let Some(applied) = &server.migrations else {
        return Finding::failure(SUBJECT, "no migration is applied", APPLY);
    };
    let states = compare(applied);
    let names = |is_wanted: fn(&migrations::commands::MigrationState) -> bool| -> Vec<&str> {
        let wanted = states.iter().filter(|state| is_wanted(state));
        wanted.map(|state| state.name.as_str()).collect()
    };
    let pending = names(|state| !state.is_applied);
    let newer = names(|state| !state.is_known);
    if !pending.is_empty() {
        return Finding::failure(SUBJECT, format!("pending: {}", pending.join(", ")), APPLY);
    }
    if !newer.is_empty() {
        return Finding::warning(
            SUBJECT,
            format!(
                "migrations of a newer release are applied: {}",
                newer.join(", ")
            ),
            "Use the command and the processes of that release, unless an upgrade is running.",
        );
    }
    let newest = applied.last().map_or("none", String::as_str);
    Finding::ok(SUBJECT, format!("up to date ({newest})"))
}

fn check_clock(difference: TimeDelta) -> Finding {
    const SUBJECT: &str = "clock";
    let milliseconds = difference.num_milliseconds();
    let message = format!("the database's clock differs by {milliseconds} ms from this host's");
    let cure = "Synchronize both hosts' clocks (NTP): processes use the database's clock, and \
                providers reject tokens and signatures with a wrong time.";
    match difference.abs() {
        skew if skew > REJECTED_SKEW => Finding::failure(SUBJECT, message, cure),
        skew if skew > MAX_SKEW => Finding::warning(SUBJECT, message, cure),
        _ => Finding::ok(SUBJECT, message),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use chrono::DateTime;
    use shared::connectors::FindingStatus;

    use super::*;

    fn server() -> Server {
        Server {
            version_num: 150_004,
            version: "15.4".to_owned(),
            has_lz4: true,
            missing_roles: Vec::new(),
            migrations: Some(migrations::commands::names()),
            time: DateTime::UNIX_EPOCH,
            read_at: Instant::now(),
        }
    }

    #[test]
    fn old_server_without_lz4_fails() {
        let old = Server {
            version_num: 140_009,
            has_lz4: false,
            missing_roles: vec!["poblysh_operator".to_owned()],
            ..server()
        };
        for (finding, named) in [
            (check_version(&old), "15 or newer"),
            (check_compression(&old), "lz4"),
            (check_roles(&old), "migrate up"),
        ] {
            assert_eq!(finding.status, FindingStatus::Failure, "{finding:?}");
            assert!(finding.cure.is_some_and(|cure| cure.contains(named)));
        }
        for finding in [
            check_version(&server()),
            check_compression(&server()),
            check_roles(&server()),
        ] {
            assert_eq!(finding.status, FindingStatus::Ok, "{finding:?}");
        }
    }

    #[test]
    fn schema_of_another_release_is_reported() {
        let schema = |migrations| {
            check_schema(&Server {
                migrations,
                ..server()
            })
            .status
        };
        assert_eq!(check_schema(&server()).status, FindingStatus::Ok);
        assert_eq!(schema(None), FindingStatus::Failure);
        assert_eq!(schema(Some(Vec::new())), FindingStatus::Failure);
        let mut newer = migrations::commands::names();
        newer.push("m2999".to_owned());
        assert_eq!(schema(Some(newer)), FindingStatus::Warning);
    }

    #[test]
    fn clocks_may_differ_by_seconds_only() {
        for (seconds, status) in [
            (0, FindingStatus::Ok),
            (-4, FindingStatus::Ok),
            (6, FindingStatus::Warning),
            (-61, FindingStatus::Failure),
        ] {
            assert_eq!(
                check_clock(TimeDelta::seconds(seconds)).status,
                status,
                "{seconds}"
            );
        }
        let ahead = Server {
            time: DateTime::UNIX_EPOCH + TimeDelta::seconds(90),
            ..server()
        };
        let difference = ahead.clock_difference(DateTime::UNIX_EPOCH);
        assert!(
            (89..=91).contains(&difference.num_seconds()),
            "{difference}"
        );
    }
}
