//! `belvedere`: the one binary.
//!
//! | command | is |
//! |---|---|
//! | (none), `serve`, `view MODEL` | the service: control plane, token service, viewer |
//! | `host` | one session's process; started by the service |
//! | `config …` | what the service would be told |
//! | `db …` | copies and checks the database |
//! | `session …`, `account …`, `latency …` | the client side of the same things |
//! | `completions`, `man` | for the shell and its users |

mod account;
mod arrconfig;
mod config;
mod connection;
mod db;
mod latency;
mod outcome;
mod serve;
mod sessions;
mod shell;
mod terminal;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

/// Self-hosted remote rendering. Without a command: serves, with a demo session, and prints a link to look at it.
#[derive(Parser)]
#[command(version, disable_help_subcommand = true, max_term_width = 100, after_help = after_help())]
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
    /// Creates and lists accounts, changes their keys. Works on the data folder, so on the service's machine.
    Account(account::AccountArgs),
    /// Copies and checks the database. Works on the data folder, so on the service's machine.
    Db(db::DbArgs),
    /// Measures how far services are, and recommends one.
    Latency(latency::LatencyArgs),
    /// Prints completions for a shell.
    Completions(shell::CompletionsArgs),
    /// Writes manual pages.
    Man(shell::ManArgs),
    /// Prints the OpenAPI description of the REST API.
    #[command(hide = true)]
    Openapi,
}

fn after_help() -> String {
    format!(
        "\
Examples:
  belvedere                                   serve, and show a demo model
  belvedere view engine.glb                   serve, and show a model of yours
  belvedere serve --models ~/models           serve sessions that clients ask for
  belvedere session create hello --lease 30   ask for one
  belvedere session open hello                look at it in a browser

`belvedere COMMAND --help` tells more about a command.

{}",
        outcome::EXIT_CODES
    )
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
        Some(Command::Db(args)) => db::run(&args),
        Some(Command::Latency(args)) => latency::run(&args),
        Some(Command::Completions(args)) => shell::completions(Cli::command(), &args),
        Some(Command::Man(args)) => shell::man(Cli::command(), &args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => outcome::report(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn whoever_needs_an_example_has_one() {
        let mut command = Cli::command();
        command.build();
        for path in ["session create", "session get", "session list", "session extend", "session stop"]
            .into_iter()
            .chain([
                "session open",
                "account create",
                "account rotate-key",
                "db backup",
                "db check",
                "latency",
                "completions",
                "man",
            ])
        {
            let found = path.split(' ').try_fold(&command, |command, name| command.find_subcommand(name));
            let help = found.and_then(clap::Command::get_after_help).map(ToString::to_string);
            let name = format!("belvedere {path}");
            assert!(help.is_some_and(|help| help.contains("Example") && help.contains(&name)), "{path}");
        }
    }
}
