//! The database file: from older and newer versions, and when something is wrong with it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use control::StartError;
use control::clock::ManualClock;
use control::database::{self, DatabaseError};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use crate::world::{World, config, eventually};
use testkit::Fleet;

/// Another program's connection to the database of a data folder.
async fn open(dir: &Path) -> SqliteConnection {
    let path = dir.join("belvedere.db");
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    options.busy_timeout(Duration::from_secs(10)).connect().await.unwrap()
}

async fn run(connection: &mut SqliteConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(connection).await.unwrap();
}

/// A data folder as version 0.1.0 left it.
async fn released() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut connection = open(dir.path()).await;
    run(&mut connection, include_str!("../released/0.1.0.sql")).await;
    connection.close().await.unwrap();
    dir
}

/// Why a server does not start there.
async fn refusal(dir: &Path) -> String {
    let mut config = config(dir);
    config.provisioner = Some(Arc::new(Fleet::default()));
    let error = match control::start(config).await {
        Ok(_) => panic!("it starts"),
        Err(error) => error,
    };
    assert!(matches!(error, StartError::Store { .. }), "{error:?}");
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(this) = cause {
        text = format!("{text}: {this}");
        cause = this.source();
    }
    text
}

/// Every row of the tables that are ours, as text.
async fn rows(dir: &Path) -> Vec<String> {
    let mut connection = open(dir).await;
    let mut all = Vec::new();
    for (table, columns) in [
        ("accounts", "id, name, primary_key, secondary_key, created_at"),
        ("signing_keys", "id, hex(pkcs8), created_at"),
        (
            "sessions",
            "account, id, seq, creation_time, size, requested_minutes, model, status, lease_minutes, ready_at, \
             ended_at, error, host, hex(host_secret_hash), host_pid, host_birth",
        ),
    ] {
        let columns = columns.replace(", ", ", '|', ").replace("model", "coalesce(model, '-')");
        let columns: Vec<String> =
            columns.split(", '|', ").map(|column| format!("coalesce({column}, '-')")).collect();
        let sql = format!("SELECT {} FROM {table} ORDER BY 1", columns.join(" || '|' || "));
        let found = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
        all.extend(found.iter().map(|row| format!("{table}: {}", row.get::<String, _>(0))));
    }
    all
}

#[tokio::test]
async fn the_database_of_0_1_0_is_taken_up_with_everything_in_it() {
    let dir = released().await;
    let before = rows(dir.path()).await;
    assert_eq!(before.len(), 2 + 1 + 6);
    {
        // The pids in the file are those of strangers today, which are recognised by their time of birth.
        let mut config = config(dir.path());
        config.host_command = vec!["false".into()];
        config.sizes.standard.n_warm = 0;
        let running = control::start(config).await.unwrap();
        assert_eq!(running.account.name, "default");
        let account = running.account.id;
        let token = running.issue_token(account, control::Role::Client).unwrap();
        let get = async |id: &str| {
            let url = format!("{}/accounts/{account}/sessions/{id}?{}", running.ready.http, crate::world::V);
            let answer = reqwest::Client::new().get(url).bearer_auth(&token).send().await.unwrap();
            answer.json::<serde_json::Value>().await.unwrap()
        };
        for (id, status, minutes) in
            [("stopped", "Stopped", 5), ("expired", "Expired", 0), ("lost", "Error", 7)]
        {
            let session = get(id).await;
            assert_eq!(
                (&session["status"], &session["maxLeaseTimeMinutes"]),
                (&status.into(), &minutes.into())
            );
        }
        assert_eq!(get("lost").await["error"]["message"], "The session's host was killed by signal 9.");
        // Their hosts are long gone, which is found out; and nothing else about them has changed.
        for (id, minutes) in [("ready", 30), ("extended", 1_440)] {
            assert!(eventually(async || get(id).await["status"] != "Ready").await, "{id}");
            let session = get(id).await;
            assert_eq!(session["maxLeaseTimeMinutes"], minutes, "{id}");
        }
        running.stop().await;
    }
    let after = rows(dir.path()).await;
    for row in &before {
        let live = ["|ready|", "|extended|", "|starting|"].iter().any(|id| row.contains(id));
        assert!(live || after.contains(row), "{row} is not in {after:#?}");
    }
    assert_eq!(after.len(), before.len());
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let dir = released().await;
    let mut connection = open(dir.path()).await;
    run(
        &mut connection,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9000, 'later', 1, x'00', 0)",
    )
    .await;
    let text = refusal(dir.path()).await;
    assert!(text.contains("newer version") && text.contains("9000") && text.contains("backup"), "{text}");
    // And it is left alone.
    assert_eq!(rows(dir.path()).await.len(), 9);
    run(
        &mut connection,
        "DELETE FROM _sqlx_migrations WHERE version = 9000; UPDATE _sqlx_migrations SET checksum = x'00'",
    )
    .await;
    let text = refusal(dir.path()).await;
    assert!(text.contains("schema number 1 is not that of a released version"), "{text}");
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("belvedere.db"), vec![7_u8; 64 * 1024]).unwrap();
    let text = refusal(dir.path()).await;
    assert!(text.contains("damaged") && text.contains("belvedere.db") && text.contains("restore"), "{text}");
}

#[tokio::test]
async fn a_damaged_page_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::again(dir, Arc::new(ManualClock::new()), Fleet::default(), |_| ()).await;
    for n in 0..200 {
        assert_eq!(world.put(&format!("a-session-with-a-long-name-{n:04}"), 10).await.status, 201);
    }
    let World { running, dir, .. } = world;
    drop(running);
    // Everything into the main file.
    let mut connection = open(dir.path()).await;
    run(&mut connection, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    let page_size: i64 = sqlx::query("PRAGMA page_size").fetch_one(&mut connection).await.unwrap().get(0);
    let root: i64 = sqlx::query("SELECT rootpage FROM sqlite_schema WHERE name = 'sessions'")
        .fetch_one(&mut connection)
        .await
        .unwrap()
        .get(0);
    connection.close().await.unwrap();
    let path = dir.path().join("belvedere.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = usize::try_from((root - 1) * page_size).unwrap();
    bytes[at..at + 512].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let text = refusal(dir.path()).await;
    assert!(text.contains("damaged") && text.contains("db check"), "{text}");
}

/// In the middle of a fault clients are refused, and sessions go on.
async fn refuses(world: &World) {
    for id in ["during", "again", "and-again"] {
        let refused = world.put(id, 10).await;
        assert_eq!(refused.refusal(), (503, "ServiceUnavailable".to_owned()), "{}", refused.text());
    }
    assert_eq!(world.get("before").await["status"], "Ready");
    assert_eq!(world.send("GET", "/readyz", &[], "").await.status, 503, "it says that it cannot work");
    assert_eq!(world.send("GET", "/healthz", &[], "").await.status, 200);
}

/// When the fault is over, so are its consequences.
async fn resumes(world: World) {
    let resumed = eventually(async || {
        // Waiting commits are tried again by the clock.
        world.advance(1);
        world.put("after", 10).await.status < 300
    });
    assert!(resumed.await, "it goes on");
    assert_eq!(world.send("GET", "/readyz", &[], "").await.status, 200);
    // What was refused may have become true in the end, and can be asked for again.
    for id in ["during", "again", "and-again", "after"] {
        assert!(world.put(id, 10).await.status < 300, "{id}");
        world.until(id, "Ready").await;
    }
    assert_eq!(world.get("before").await["status"], "Ready");
    let World { running, dir, .. } = world;
    running.stop().await;
    let mut connection = open(dir.path()).await;
    let found: String =
        sqlx::query("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap().get(0);
    assert_eq!(found, "ok");
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_locked_file_is_waited_for() {
    let world = World::new().await;
    world.ready("before", 10).await;
    let mut other = open(world.dir.path()).await;
    run(&mut other, "BEGIN EXCLUSIVE").await;
    refuses(&world).await;
    run(&mut other, "ROLLBACK").await;
    other.close().await.unwrap();
    resumes(world).await;
}

#[tokio::test]
async fn a_file_that_is_damaged_meanwhile_ends_no_session() {
    let world = World::new().await;
    world.ready("before", 10).await;
    let path = world.dir.path().join("belvedere.db");
    let mut other = open(world.dir.path()).await;
    run(&mut other, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    let good = std::fs::read(&path).unwrap();
    let mut bad = good.clone();
    // All but the first page, which names the others.
    bad[4_096..].fill(0xa5);
    std::fs::write(&path, bad).unwrap();
    // A change makes everybody read again what they had in memory.
    run(&mut other, "PRAGMA user_version = 1").await;
    refuses(&world).await;
    assert_eq!(world.sessions("GET", "/long-gone", "").await.status, 503, "what must be read cannot be");
    run(&mut other, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    std::fs::write(&path, good).unwrap();
    run(&mut other, "PRAGMA user_version = 2").await;
    other.close().await.unwrap();
    resumes(world).await;
}

/// A small file system of its own, if we may make one.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(options: &str) -> Option<Self> {
        let disk = Self(tempfile::tempdir().unwrap());
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(disk.0.path())
            .stderr(std::process::Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(disk);
        }
        println!("SKIPPED: no file system can be mounted here; run as root");
        None
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a test that failed may have files open.
        std::process::Command::new("umount").arg("-l").arg(self.0.path()).status().ok();
    }
}

#[tokio::test]
async fn a_full_disk_is_waited_for() {
    let Some(disk) = Disk::new("size=4m") else { return };
    let dir = tempfile::tempdir_in(disk.0.path()).unwrap();
    let world = World::again(dir, Arc::new(ManualClock::new()), Fleet::default(), |_| ()).await;
    world.ready("before", 10).await;
    let filler = disk.0.path().join("filler");
    let fill = || {
        use std::io::Write as _;
        let mut file = std::fs::File::create(&filler).unwrap();
        while file.write_all(&[0; 4_096]).is_ok() {}
        while file.write_all(&[0]).is_ok() {}
    };
    for _ in 0..3 {
        fill();
        // There may be some room left in the files.
        let mut n = 0;
        let full = eventually(async || {
            n += 1;
            world.put(&format!("x{n}"), 0).await.status == 503
        });
        assert!(full.await, "the disk is not full");
        refuses(&world).await;
        std::fs::remove_file(&filler).unwrap();
        let resumed = eventually(async || {
            world.advance(1);
            world.put("between", 10).await.status < 300
        });
        assert!(resumed.await, "it goes on");
    }
    resumes(world).await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_refused() {
    let Some(disk) = Disk::new("size=4m,ro") else { return };
    let mut config = config(disk.0.path());
    config.provisioner = Some(Arc::new(Fleet::default()));
    let Err(error) = control::start(config).await else { panic!("it starts") };
    let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(text.contains("right to write") && text.contains("Read-only"), "{text}");
}

#[tokio::test]
async fn a_backup_is_whole_while_the_service_goes_on() {
    let world = World::new().await;
    world.ready("live", 10).await;
    world.put("stopped", 10).await;
    world.stop("stopped").await;
    let file = world.dir.path().join("backup.db");
    let report = {
        let creates = async {
            for n in 0.. {
                world.put(&format!("meanwhile-{n}"), 10).await;
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = creates => unreachable!(),
            report = database::backup(world.dir.path(), &file) => report.unwrap(),
        }
    };
    assert!(report.ok && report.accounts == 1 && report.sessions >= 2, "{report:?}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let files = std::fs::read_dir(world.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!files.into_iter().any(|name| name.to_string_lossy().contains("part")), "nothing is left over");
    let again = database::backup(world.dir.path(), &file).await;
    assert!(matches!(again, Err(DatabaseError::Exists(_))), "{again:?}");
    assert_eq!(database::check_file(&file).await.unwrap(), report);
    let account = world.account.clone();
    world.running.stop().await;

    // Restored elsewhere, as docs/how-to/backup.md has it.
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(&file, dir.path().join("belvedere.db")).unwrap();
    let clock = Arc::clone(&world.clock);
    let restored = World::again(dir, clock, Fleet::default(), |_| ()).await;
    assert_eq!(restored.account, account);
    assert_eq!(restored.get("stopped").await["status"], "Stopped");
    restored.advance(31);
    assert_eq!(restored.until("live", "Error").await["error"]["code"], "HostLost", "its host is elsewhere");
    restored.running.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_database_is_found() {
    let dir = released().await;
    let report = database::check(dir.path()).await.unwrap();
    assert_eq!((report.ok, report.schema, report.accounts), (true, 1, 2), "{report:?}");
    assert_eq!((report.sessions, report.live_sessions), (6, 3));
    let mut connection = open(dir.path()).await;
    for (wrong, right, place, what) in [
        (
            "UPDATE sessions SET status = 'Wonderful' WHERE id = 'ready'",
            "UPDATE sessions SET status = 'Ready' WHERE id = 'ready'",
            "session ready",
            "its status is impossible",
        ),
        (
            "UPDATE sessions SET status = 'Stopped' WHERE id = 'ready'",
            "UPDATE sessions SET status = 'Ready' WHERE id = 'ready'",
            "session ready",
            "its status does not go with its times",
        ),
        (
            "UPDATE sessions SET ended_at = 7 WHERE id = 'stopped'",
            "UPDATE sessions SET ended_at = 1895317559192782 WHERE id = 'stopped'",
            "session stopped",
            "it ended before it was Ready",
        ),
        (
            "UPDATE sessions SET lease_minutes = 1441 WHERE id = 'stopped'",
            "UPDATE sessions SET lease_minutes = 5 WHERE id = 'stopped'",
            "session stopped",
            "its lease_minutes is impossible",
        ),
        (
            "UPDATE sessions SET error = '{' WHERE id = 'lost'",
            "UPDATE sessions SET error = '{\"code\":\"HostLost\",\"message\":\"\"}' WHERE id = 'lost'",
            "session lost",
            "its error is impossible",
        ),
        (
            "UPDATE sessions SET account = '00000000-0000-0000-0000-000000000000' WHERE id = 'ready'",
            "UPDATE sessions SET account = 'caa4c738-80bd-4a3c-9383-91212c4b71e3' WHERE id = 'ready'",
            "session ready",
            "it is live and belongs to no account",
        ),
        (
            "UPDATE accounts SET primary_key = '', name = 'x' || name WHERE name = 'second'",
            "UPDATE accounts SET primary_key = 'k' WHERE name = 'xsecond'",
            "account a4588fd5-c524-42b5-920a-cccd4f5b00c1",
            "it has an empty key",
        ),
        (
            "INSERT INTO signing_keys VALUES ('odd', x'00', 0)",
            "DELETE FROM signing_keys WHERE id = 'odd'",
            "signing key odd",
            "it is no key",
        ),
        (
            "INSERT INTO _sqlx_migrations VALUES (9000, 'later', 0, 1, x'00', 0)",
            "DELETE FROM _sqlx_migrations WHERE version = 9000",
            "schema",
            "step 9000 is of a newer version of Belvedere",
        ),
    ] {
        run(&mut connection, wrong).await;
        let report = database::check(dir.path()).await.unwrap();
        let found: Vec<(&str, &str)> =
            report.problems.iter().map(|problem| (problem.place.as_str(), problem.what.as_str())).collect();
        assert_eq!((report.ok, found), (false, vec![(place, what)]), "{wrong}");
        run(&mut connection, right).await;
        assert!(database::check(dir.path()).await.unwrap().ok, "{right}");
    }
    connection.close().await.unwrap();

    // Bytes overwritten in the middle.
    let path = dir.path().join("belvedere.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4_096 * 4_096;
    bytes[middle..middle + 100].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let report = database::check(dir.path()).await.unwrap();
    assert!(!report.ok && report.problems[0].place == "file", "{report:?}");
    let copied = database::backup(dir.path(), &dir.path().join("copy.db")).await;
    assert!(copied.is_err() && !dir.path().join("copy.db").exists(), "{copied:?}");

    std::fs::write(&path, [7; 9_000]).unwrap();
    let report = database::check(dir.path()).await.unwrap();
    assert!(!report.ok && report.problems[0].what.contains("not a database"), "{report:?}");
    let missing = database::check(&dir.path().join("nowhere")).await;
    assert!(matches!(missing, Err(DatabaseError::Missing(_))), "{missing:?}");
}
