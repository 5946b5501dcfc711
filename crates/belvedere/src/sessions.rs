//! `belvedere session …`.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Subcommand;
use protocol::SessionId;
use protocol::rest::{Session, SessionSize, SessionStatus};

use crate::arrconfig;
use crate::connection::{Connection, ConnectionArgs};
use crate::outcome::{Exit, Failure};
use crate::terminal::{self, Status, Style, Table, paint};

/// Lease of a session for which nobody says one.
const LEASE_MINUTES: u32 = 60;

/// What to do with sessions.
#[derive(Subcommand)]
pub(crate) enum SessionCommand {
    /// Creates a session and waits until it is Ready.
    #[command(after_help = "\
Examples:
  belvedere session create                          an id is made up, one hour
  belvedere session create hello --lease 30         half an hour, counted from Ready
  belvedere session create --arrconfig arrconfig.json
  id=$(belvedere session create --json | jq -r .id)")]
    Create {
        /// Its id (letters, digits, '-', '_'); made up if absent.
        id: Option<SessionId>,
        /// Standard or Premium [default: vmSize of --arrconfig, else Standard].
        #[arg(long, value_parser = size)]
        size: Option<SessionSize>,
        /// Lease from Ready on, at most 24 hours: minutes, or hh:mm:ss [default: maxLeaseTime of --arrconfig, else 60].
        #[arg(long, value_name = "MINUTES", value_parser = arrconfig::lease)]
        lease: Option<u32>,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Shows a session, running or ended in the last 30 days.
    #[command(after_help = "\
Examples:
  belvedere session get hello
  belvedere session get hello --wait                until it is Ready or has ended")]
    Get {
        /// Its id.
        id: SessionId,
        /// Waits until it is Ready or has ended.
        #[arg(long)]
        wait: bool,
        /// With --wait: gives up after this many seconds.
        #[arg(long, value_name = "SECONDS", requires = "wait")]
        timeout: Option<u64>,
    },
    /// Lists the sessions that are Starting or Ready.
    #[command(after_help = "\
Examples:
  belvedere session list
  belvedere session list --json | jq -r '.[].id'")]
    List,
    /// Sets a longer lease.
    #[command(after_help = "\
Example:
  belvedere session extend hello --lease 90         90 minutes in all, counted from Ready")]
    Extend {
        /// Its id.
        id: SessionId,
        /// The new total since Ready, more than now and at most 24 hours: minutes, or hh:mm:ss.
        #[arg(long, value_name = "MINUTES", value_parser = arrconfig::lease)]
        lease: u32,
    },
    /// Stops a session. Stopping it again is no error.
    #[command(after_help = "\
Example:
  belvedere session stop hello")]
    Stop {
        /// Its id.
        id: SessionId,
    },
    /// Prints a link that shows the session in a browser, and opens it if there is a terminal.
    #[command(after_help = "\
The link holds an access token: who has it may use the account's sessions for a day.

Examples:
  belvedere session open hello
  belvedere session open hello --model parts/engine.glb
  belvedere session open hello --print | wl-copy")]
    Open {
        /// Its id.
        id: SessionId,
        /// A model to show: a file below the service's --models folder, or builtin://demo.
        #[arg(long, value_name = "SOURCE")]
        model: Option<String>,
        /// Prints the link and opens nothing.
        #[arg(long)]
        print: bool,
    },
}

/// How long to wait for Ready.
#[derive(clap::Args)]
pub(crate) struct Waiting {
    /// Does not wait; prints the session as it is.
    #[arg(long, conflicts_with = "timeout")]
    no_wait: bool,
    /// Gives up waiting after this many seconds; the session goes on starting.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

fn size(text: &str) -> Result<SessionSize, String> {
    SessionSize::parse(text).ok_or_else(|| "a size is Standard or Premium".to_owned())
}

/// Runs the command.
pub(crate) fn run(args: &ConnectionArgs, command: &SessionCommand) -> Result<()> {
    let connection = args.connect()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(execute(
        &connection,
        command,
        args.json,
    ))
}

async fn execute(connection: &Connection, command: &SessionCommand, json: bool) -> Result<()> {
    match command {
        SessionCommand::Create { id, size, lease, waiting } => {
            let id = match id {
                Some(id) => id.clone(),
                None => uuid::Uuid::new_v4().to_string().parse()?,
            };
            let size = size.or(connection.arrconfig.size).unwrap_or(SessionSize::Standard);
            let lease = lease.or(connection.arrconfig.lease_minutes).unwrap_or(LEASE_MINUTES);
            let status = Status::new(format!("Starting session {id}"));
            let create = async {
                let created =
                    connection.ask(Some(&id), async |client| client.create(&id, size, lease).await).await?;
                if waiting.no_wait {
                    Ok(created)
                } else {
                    started(connection, created, waiting.timeout).await
                }
            };
            let session = status.during(create).await?;
            show(&session, json)?;
            if waiting.no_wait { Ok(()) } else { check_ready(&session) }
        }
        SessionCommand::Get { id, wait, timeout } => {
            let status = Status::new(format!("Waiting for session {id}"));
            let get = async {
                let session = connection.ask(Some(id), async |client| client.get(id).await).await?;
                if *wait { started(connection, session, *timeout).await } else { Ok(session) }
            };
            let session = status.during(get).await?;
            show(&session, json)?;
            if *wait { check_ready(&session) } else { Ok(()) }
        }
        SessionCommand::List => {
            let status = Status::new("Reading the list");
            let sessions = status.during(connection.ask(None, async |client| client.list().await)).await?;
            if json {
                print(&(serde_json::to_string_pretty(&sessions)? + "\n"))
            } else if sessions.is_empty() {
                eprintln!("No session is Starting or Ready. `belvedere session create` makes one.");
                Ok(())
            } else {
                print(&table(&sessions, terminal::has_colour()))
            }
        }
        SessionCommand::Extend { id, lease } => {
            let session = connection.ask(Some(id), async |client| client.extend(id, *lease).await).await?;
            show(&session, json)
        }
        SessionCommand::Stop { id } => {
            connection.ask(Some(id), async |client| client.stop(id).await).await?;
            let session = connection.ask(Some(id), async |client| client.get(id).await).await?;
            show(&session, json)
        }
        SessionCommand::Open { id, model, print: only_print } => {
            let session = connection.ask(Some(id), async |client| client.get(id).await).await?;
            if session.status.is_terminal() {
                check_ready(&session)?;
            }
            let token = connection.ask(None, async |client| client.token().await).await?;
            let url = viewer_url(connection, id, model.as_deref(), &token);
            if json {
                print(&format!("{:#}\n", serde_json::json!({ "url": url })))?;
            } else {
                print(&format!("{url}\n"))?;
            }
            if !only_print && !json && std::io::IsTerminal::is_terminal(&std::io::stdout()) {
                browse(&url).context("no browser could be started; open the link above by hand")?;
            }
            Ok(())
        }
    }
}

/// Polls until the session leaves Starting; the service itself ends a start that takes too long.
async fn started(
    connection: &Connection,
    mut session: Session,
    timeout_secs: Option<u64>,
) -> Result<Session, Failure> {
    let id = session.id.clone();
    let poll = async {
        let mut pause = Duration::from_millis(10);
        while session.status == SessionStatus::Starting {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
            session = connection.ask(Some(&id), async |client| client.get(&id).await).await?;
        }
        Ok(session)
    };
    let Some(secs) = timeout_secs else { return poll.await };
    tokio::time::timeout(Duration::from_secs(secs), poll).await.unwrap_or_else(|_elapsed| {
        Err(Failure::new(Exit::StillStarting, format!("session {id} is not Ready after {secs} s"))
            .hint("it goes on starting, and its lease does not run yet")
            .hint(format!(
                "`belvedere session get {id} --wait` waits on; `belvedere session stop {id}` ends it"
            )))
    })
}

fn check_ready(session: &Session) -> Result<()> {
    let Session { id, status, error, .. } = session;
    if !status.is_terminal() {
        return Ok(());
    }
    let failure = Failure::new(
        Exit::SessionEnded,
        format!("session {id} has ended: it is {status}", status = status.as_str()),
    );
    Err(match error {
        Some(error) => failure.because(format!("{} ({})", error.message, error.code)),
        None => failure,
    }
    .hint("a new session needs a new id")
    .into())
}

/// Writes to standard output. A reader that has left is no error: `belvedere session list | head -1`.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

fn show(session: &Session, json: bool) -> Result<()> {
    print(&if json {
        serde_json::to_string_pretty(session)? + "\n"
    } else {
        properties(session, terminal::has_colour())
    })
}

/// One session, a property a line.
fn properties(session: &Session, colour: bool) -> String {
    let mut rows = vec![
        ("id", paint(session.id.as_str(), Style::Bold, colour)),
        ("status", paint(session.status.as_str(), style(session.status), colour)),
        ("size", session.size.to_string()),
        ("lease", format!("{} of {} min", session.elapsed_time_minutes, session.max_lease_time_minutes)),
        ("created", when(&session.creation_time)),
    ];
    let optional = [
        ("hostname", session.hostname.clone()),
        ("handshake port", session.handshake_port.map(|port| port.to_string())),
        ("inspector port", session.arr_inspector_port.map(|port| port.to_string())),
        ("teraflops", session.teraflops.map(|teraflops| format!("{teraflops:.2}"))),
        ("error", session.error.as_ref().map(|error| format!("{} ({})", error.message, error.code))),
    ];
    rows.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let line = |(name, value)| format!("{}  {value}\n", paint(&format!("{name:<14}"), Style::Dim, colour));
    rows.into_iter().map(line).collect()
}

fn table(sessions: &[Session], colour: bool) -> String {
    let mut table = Table::new(&["ID", "STATUS", "SIZE", ">ELAPSED", ">LEFT", ">LEASE", "CREATED"]);
    for session in sessions {
        let (elapsed, lease) = (session.elapsed_time_minutes, session.max_lease_time_minutes);
        let is_ready = session.status == SessionStatus::Ready;
        let minutes = |n: u32| if is_ready { format!("{n} min") } else { "–".to_owned() };
        // Minutes are whole and rounded down, so this much is left at most.
        let left = lease.saturating_sub(elapsed);
        let soon = if is_ready && left <= 5 { Style::Yellow } else { Style::Plain };
        table.row(vec![
            (session.id.to_string(), Style::Bold),
            (session.status.as_str().to_owned(), style(session.status)),
            (session.size.to_string(), Style::Plain),
            (minutes(elapsed), Style::Plain),
            (minutes(left), soon),
            (format!("{lease} min"), Style::Plain),
            (when(&session.creation_time), Style::Dim),
        ]);
    }
    table.text(colour)
}

fn style(status: SessionStatus) -> Style {
    match status {
        SessionStatus::Ready => Style::Green,
        SessionStatus::Starting => Style::Yellow,
        SessionStatus::Error => Style::Red,
        SessionStatus::Stopped | SessionStatus::Expired => Style::Dim,
    }
}

/// `2026-11-22T03:00:04.1234567+00:00` as `2026-11-22 03:00:04 UTC`; what has another form is shown as it is.
fn when(creation_time: &str) -> String {
    let utc = creation_time.strip_suffix("+00:00").or_else(|| creation_time.strip_suffix('Z'));
    let Some((date, time)) = utc.and_then(|utc| utc.split_once('T')) else { return creation_time.to_owned() };
    format!("{date} {} UTC", time.split('.').next().unwrap_or(time))
}

fn viewer_url(connection: &Connection, id: &SessionId, model: Option<&str>, token: &str) -> String {
    let account = connection.client.options().account;
    let model = model.map_or_else(String::new, |model| format!("&model={}", escape(model)));
    format!("{}/viewer/?account={account}&session={id}{model}#token={token}", connection.pages)
}

/// Percent-encodes all but what RFC 3986 calls unreserved.
fn escape(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// Starts the browser with a file that leads to the link: the link itself on a command line would show its token to
/// other users of the machine.
fn browse(url: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = std::env::temp_dir().join(format!("belvedere-open-{}.html", uuid::Uuid::new_v4()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let url = url.replace('&', "&amp;").replace('"', "&quot;");
    write!(file, "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=\"0;url={url}\">")?;
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let started = std::process::Command::new(opener)
        .arg(&path)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status();
    if !started.as_ref().is_ok_and(std::process::ExitStatus::success) {
        std::fs::remove_file(&path)?;
        anyhow::bail!("{opener} did not work");
    }
    // Long enough for a browser to start; what it has read by then is all it needs.
    std::thread::sleep(Duration::from_secs(5));
    Ok(std::fs::remove_file(&path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(id: &str, status: SessionStatus, minutes: (u32, u32)) -> Session {
        Session {
            id: id.parse().unwrap(),
            creation_time: "2026-11-22T03:00:04.1234567+00:00".into(),
            arr_inspector_port: None,
            handshake_port: None,
            elapsed_time_minutes: minutes.0,
            hostname: None,
            max_lease_time_minutes: minutes.1,
            size: SessionSize::Standard,
            status,
            teraflops: None,
            error: None,
        }
    }

    #[test]
    fn a_list_is_a_table() {
        let sessions = [
            session("one", SessionStatus::Ready, (12, 60)),
            session("second-one", SessionStatus::Starting, (0, 1440)),
        ];
        let text = "\
ID          STATUS    SIZE      ELAPSED    LEFT     LEASE  CREATED
one         Ready     Standard   12 min  48 min    60 min  2026-11-22 03:00:04 UTC
second-one  Starting  Standard        –       –  1440 min  2026-11-22 03:00:04 UTC
";
        assert_eq!(table(&sessions, false), text);
        assert!(table(&sessions, true).contains("\x1b[32mReady\x1b[0m"));
    }

    #[test]
    fn one_session_shows_what_it_has() {
        let mut one = session("one", SessionStatus::Ready, (0, 30));
        one.hostname = Some("localhost".into());
        one.handshake_port = Some(50_051);
        let text = properties(&one, false);
        assert!(text.contains("lease           0 of 30 min\n"), "{text}");
        assert!(text.contains("hostname        localhost\nhandshake port  50051\n"), "{text}");
        assert!(!text.contains("inspector"), "{text}");
    }

    #[test]
    fn times_of_other_forms_are_left_alone() {
        assert_eq!(when("2026-11-22T03:00:04Z"), "2026-11-22 03:00:04 UTC");
        assert_eq!(when("2026-11-22T03:00:04+01:00"), "2026-11-22T03:00:04+01:00");
        assert_eq!(when("soon"), "soon");
    }

    #[test]
    fn models_are_escaped_in_links() {
        assert_eq!(escape("parts/my engine&2.glb"), "parts%2Fmy%20engine%262.glb");
    }
}
