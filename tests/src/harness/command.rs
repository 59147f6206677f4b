//! The command `poblysh` as a child process.

#![expect(
    clippy::disallowed_methods,
    reason = "the environment names the PATH of a test run"
)]

use std::collections::BTreeMap;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::{Child, Command};

use super::processes::{INHERITED, binary};
use super::{OPERATOR_TOKEN, System};

/// The command with an environment of its own.
#[derive(Debug, Clone)]
pub struct Poblysh {
    /// Its variables.
    pub env: BTreeMap<String, String>,
}

/// The result of a run.
#[derive(Debug)]
pub struct CommandOutput {
    /// The exit status; `None` after a signal.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Poblysh {
    /// The command with the settings of a system, as an operator.
    pub fn of(system: &System) -> Self {
        let mut env = system.env.clone();
        env.insert("POBLYSH_URL".to_owned(), system.api.clone());
        env.insert("POBLYSH_TOKEN".to_owned(), OPERATOR_TOKEN.to_owned());
        Self { env }
    }

    /// The command with only these variables.
    pub fn with_env(env: &[(&str, &str)]) -> Self {
        let pairs = env.iter();
        Self {
            env: pairs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    /// The same command with a variable changed, or removed by an empty value.
    #[must_use]
    pub fn set(&self, name: &str, value: &str) -> Self {
        let mut changed = self.clone();
        changed.env.remove(name);
        if !value.is_empty() {
            changed.env.insert(name.to_owned(), value.to_owned());
        }
        changed
    }

    /// Starts the command with its output piped.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        let inherited = INHERITED
            .iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?)));
        Command::new(binary("poblysh"))
            .args(arguments)
            .env_clear()
            .envs(inherited)
            .envs(&self.env)
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binaries are built: `cargo build --workspace --bins`")
    }

    /// Runs the command to its end.
    ///
    /// # Panics
    ///
    /// When it does not start, or its output is not UTF-8.
    pub async fn run(&self, arguments: &[&str]) -> CommandOutput {
        let output = self.spawn(arguments).wait_with_output().await;
        let output = output.expect("an exit status");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        CommandOutput {
            status: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Runs the command, which must succeed, and returns its standard output.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub async fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert_eq!(output.status, Some(0), "{arguments:?}: {output:?}");
        output.stdout
    }

    /// Runs the command with `--json`, which must succeed, and returns its JSON.
    ///
    /// # Panics
    ///
    /// When it fails, or prints no JSON.
    pub async fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [&["--json"], arguments].concat();
        let text = self.text(&arguments).await;
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{arguments:?}: {text}"))
    }
}
