//! The api-server's process: settings in, one exit code out.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use api_server::Config;
use shared::config::Env;
use shared::telemetry;
use tokio::net::TcpListener;

const HELP: &str = "\
Serves the API of Poblysh Connectors: connect flows, connections, jobs and the feed of Signals.

Usage: api-server [COMMAND]

Commands:
  openapi   Print the OpenAPI document and exit
  help      Print this text and exit

Without a command the server runs until SIGTERM or SIGINT. Its settings are environment
variables; .env.example documents them.
";

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [] => serve(),
        ["openapi"] => print(&api_server::openapi_json()),
        ["help" | "--help" | "-h"] => print(HELP),
        _ => {
            std::io::stderr().write_all(HELP.as_bytes())?;
            Ok(ExitCode::from(2))
        }
    }
}

fn print(text: &str) -> anyhow::Result<ExitCode> {
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

#[tokio::main]
async fn serve() -> anyhow::Result<ExitCode> {
    let env = Env::from_process()?;
    let config = Config::from_env(&env)?;
    let telemetry = telemetry::init("api-server", &env)?;
    let address = config.bind_addr();
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let server = api_server::serve(config, telemetry.metrics(), listener).await?;
    let drained = server.lifecycle().run().await;
    telemetry.shutdown().await;
    Ok(if drained {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
