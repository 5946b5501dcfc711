//! `belvedere`: the one binary.
//!
//! | command | is |
//! |---|---|
//! | (none), `serve`, `view MODEL` | the service: control plane, token service, viewer |
//! | `host` | one session's process; started by the service |
//! | `config …` | what the service would be told |
//! | `session …`, `account …` | the client side of the same things |

mod account;
mod config;
mod connection;
mod serve;
mod sessions;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Self-hosted remote rendering. Without a command: serves with a demo session.
#[derive(Parser)]
#[command(version, about, disable_help_subcommand = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the service.
    Serve(config::ServeArgs),
    /// Runs the service and shows a model in a session of its own.
    View {
        /// A .glb or .gltf file.
        model: PathBuf,
        #[command(flatten)]
        serve: config::ServeArgs,
    },
    /// Serves one session (started by the service, not by hand).
    #[command(hide = true)]
    Host(serve::HostArgs),
    /// Checks and shows the settings of `serve`.
    Config {
        #[command(subcommand)]
        command: config::command::ConfigCommand,
    },
    /// Creates, shows, extends and stops sessions.
    Session {
        #[command(flatten)]
        connection: connection::ConnectionArgs,
        #[command(subcommand)]
        command: sessions::SessionCommand,
    },
    /// Prints the OpenAPI description of the REST API.
    #[command(hide = true)]
    Openapi,
    /// Creates and lists accounts, changes their keys. Works on the data folder, so on the service's machine.
    Account(account::AccountArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        None => serve::run(&config::ServeArgs::default(), serve::Shown::Demo),
        Some(Command::Serve(args)) => serve::run(&args, serve::Shown::Nothing),
        Some(Command::View { model, serve: args }) => serve::run(&args, serve::Shown::Model(model)),
        Some(Command::Host(args)) => serve::host(&args),
        Some(Command::Config { command }) => config::command::run(command),
        Some(Command::Session { connection, command }) => sessions::run(&connection, &command),
        Some(Command::Openapi) => {
            print!("{}", control::openapi_json());
            Ok(())
        }
        Some(Command::Account(args)) => account::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because {cause}");
            }
            ExitCode::FAILURE
        }
    }
}
