use std::ffi::OsString;
use std::path::Path;

use clap::CommandFactory as _;

use super::sources::{Problem, Source};
use super::*;

/// A file, variables and flags as a person would give them.
#[derive(Default)]
struct Told<'a> {
    file: &'a str,
    variables: &'a [(&'a str, &'a str)],
    flags: &'a [&'a str],
}

impl Told<'_> {
    fn values(&self) -> Values {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("belvedere.toml");
        std::fs::write(&path, self.file).unwrap();
        let command = ServeArgs::augment_args(clap::Command::new("serve").no_binary_name(true));
        let args = ServeArgs::from_arg_matches(&command.try_get_matches_from(self.flags).unwrap()).unwrap();
        let variables =
            self.variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Values::gather(Some(&path), variables, &args.flags)
    }

    fn settings(&self) -> Settings {
        let mut values = self.values();
        let settings = Settings::of(&mut values).unwrap();
        assert_eq!(values.problems, []);
        settings
    }

    /// What is wrong, a line each.
    fn problems(&self) -> Vec<String> {
        let mut values = self.values();
        Settings::of(&mut values).unwrap();
        values.problems.iter().map(words).collect()
    }

    fn warnings(&self) -> Vec<String> {
        let mut values = self.values();
        Settings::of(&mut values).unwrap();
        values.warnings.iter().map(words).collect()
    }
}

/// The problem as it is said, but for the folder that the file was in.
fn words(problem: &Problem) -> String {
    let words = problem.to_string();
    words.split_once("belvedere.toml:").map_or_else(|| words.clone(), |(_, rest)| format!("file:{rest}"))
}

#[test]
fn flags_win_over_variables_over_the_file_over_defaults() {
    let told = Told {
        file: "hostname = \"file\"\nwarm-hosts = 2\nmax-hosts = 3\n",
        variables: &[("BELVEDERE_HOSTNAME", "variable"), ("BELVEDERE_WARM_HOSTS", "4")],
        flags: &["--hostname", "flag"],
    };
    let settings = told.settings();
    assert_eq!(settings.hostname, "flag");
    assert_eq!(
        (settings.sizes.standard.n_warm, settings.max_hosts, settings.handshake_port),
        (4, Some(3), 50_051)
    );
    assert_eq!((settings.listen_https.port(), settings.default_ports), (8443, true));
    let values = told.values();
    assert_eq!(values.source(&keys::HOSTNAME).to_string(), "--hostname");
    assert_eq!(values.source(&keys::WARM_HOSTS).to_string(), "BELVEDERE_WARM_HOSTS");
    assert!(values.source(&keys::MAX_HOSTS).to_string().ends_with("belvedere.toml:3"));
    assert_eq!(values.source(&keys::INSPECTOR_PORT), Source::Default);
}

#[test]
fn defaults_are_what_the_control_plane_has() {
    let (settings, theirs) = (Told::default().settings(), control::Config::new("/", Vec::new()));
    assert_eq!(settings.listen_http, theirs.listen_http);
    assert_eq!(settings.listen_https, theirs.listen_https);
    assert_eq!(settings.allow_remote, theirs.allow_remote);
    assert_eq!(settings.hostname, theirs.hostname);
    assert_eq!(settings.handshake_port, theirs.handshake_port);
    assert_eq!(settings.inspector_port, theirs.inspector_port);
    assert_eq!(settings.sizes, theirs.sizes);
    assert_eq!(settings.max_hosts, None);
    assert_eq!(settings.rate_limit, theirs.rate_limit);
    assert_eq!(settings.refusal_limit, theirs.refusal_limit);
    assert_eq!(settings.audit, theirs.audit);
}

#[test]
fn sizes_are_set_one_by_one() {
    let told = Told {
        file: "warm-hosts = 2\n[sizes.standard]\nthreads = 3\nprimitives = 0\n[sizes.premium]\nmemory-mib = 2048\nteraflops = \"0.5\"\nwarm-hosts = 1\n",
        variables: &[("BELVEDERE_SIZES_PREMIUM_MAX_HOSTS", "7")],
        flags: &["--sizes-standard-memory-mib", "0"],
    };
    let sizes = told.settings().sizes;
    let (standard, premium) = (sizes.standard, sizes.premium);
    assert_eq!((standard.n_threads.get(), standard.n_primitives_max, standard.memory_bytes), (3, None, None));
    assert_eq!((premium.memory_bytes, premium.teraflops, premium.n_warm), (Some(2 << 30), 0.5, 1));
    assert_eq!((standard.n_warm, premium.n_hosts_max), (2, Some(7)));
    for (file, place) in [
        ("[sizes.standard]\nthreads = 0\n", "file:2"),
        ("[sizes.premium]\nmemory-mib = 100\n", "file:2: the memory limit is below 256 MiB"),
        ("[sizes.premium]\n\nteraflops = \"nan\"\n", "file:3"),
        ("[sizes.tiny]\nthreads = 1\n", "file:1"),
    ] {
        let problems = Told { file, ..Told::default() }.problems();
        assert!(problems.len() == 1 && problems[0].starts_with(place), "{problems:?}");
    }
}

#[test]
fn every_problem_is_named_with_its_place_and_what_is_allowed() {
    let told = Told {
        file: "hostname = 5\nlisten = \"127.0.0.1:1\"\nzzz = 1\nwarm-hosts = -1\n\n[[oidc]]\nissuer = \"x\"\naudiance = \"y\"\n",
        variables: &[("BELVEDERE_MAX_HOSTS", "many"), ("BELVEDERE_CORS_ORIGINS", "https://a.example, *")],
        flags: &["--handshake-port=80", "--allow-remote=maybe"],
    };
    let problems = told.problems();
    let expected = [
        "file:1: `hostname` must be a text",
        "file:2: no setting is called `listen`; did you mean `listen-http`?",
        "file:3: no setting is called `zzz`; here may stand data, listen-http, ",
        "file:4: \"-1\" is no value of `warm-hosts`; allowed are whole numbers from 0",
        "file:8: in [[oidc]]: unknown field `audiance`, expected one of `issuer`, `audience`, `accounts`",
        "BELVEDERE_CORS_ORIGINS: \"*\" is no value of `cors-origins`;",
        "BELVEDERE_MAX_HOSTS: \"many\" is no value of `max-hosts`; allowed are whole numbers",
        "--allow-remote: \"maybe\" is no value of `allow-remote`; allowed are true and false",
        "--handshake-port: \"80\" is no value of `handshake-port`; allowed are ports from 49152 to 65534, and 0",
    ];
    for start in expected {
        assert!(problems.iter().any(|problem| problem.starts_with(start)), "{start} in {problems:#?}");
    }
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
}

#[test]
fn syntax_errors_have_lines() {
    let problems = Told { file: "data = \"/x\"\nhostname = \n", ..Told::default() }.problems();
    assert!(problems[0].starts_with("file:2: "), "{problems:?}");
}

#[test]
fn unknown_variables_of_ours_are_warned_about() {
    let told = Told {
        variables: &[
            ("BELVEDERE_WARMHOSTS", "1"),
            ("BELVEDERE_LINK_URL", "ws://x"),
            ("BELVEDERE_CA", "/ca.pem"),
            ("PATH", "/bin"),
        ],
        ..Told::default()
    };
    let words = "BELVEDERE_WARMHOSTS: no setting has this name; did you mean BELVEDERE_WARM_HOSTS?";
    assert_eq!(told.warnings(), [words]);
    assert_eq!(told.problems(), [""; 0]);
}

#[test]
fn paths_in_the_file_are_beside_it() {
    let told = Told { file: "data = \"state\"\n", ..Told::default() };
    assert!(told.settings().data.is_absolute());
    let told = Told { flags: &["--data", "state"], ..Told::default() };
    assert_eq!(told.settings().data, Path::new("state"));
}

#[test]
fn other_machines_are_let_in_only_when_asked_for() {
    let beyond = &["--listen-https", "0.0.0.0:8443", "--media-listen", "0.0.0.0:0"];
    let problems = Told { flags: beyond, ..Told::default() }.problems();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("--listen-https: other machines reach 0.0.0.0:8443"), "{problems:?}");
    assert!(problems[0].contains("--allow-remote"), "{problems:?}");
    let told = Told { file: "allow-remote = true", flags: beyond, ..Told::default() };
    assert!(told.settings().allow_remote);
    assert!(told.warnings()[0].contains("set `hostname`"), "{:?}", told.warnings());
    let told = Told {
        flags: &["--allow-remote", "--listen-http=10.0.0.1:80", "--hostname=a.example"],
        ..Told::default()
    };
    assert!(told.warnings()[0].starts_with("--listen-http: keys and tokens travel"), "{:?}", told.warnings());
}

#[test]
fn lists_come_by_every_way() {
    let expected = ["https://a.example", "http://localhost:5173"];
    for told in [
        Told { file: "cors-origins = [\"https://a.example\", \"http://localhost:5173\"]", ..Told::default() },
        Told {
            variables: &[("BELVEDERE_CORS_ORIGINS", "https://a.example, http://localhost:5173")],
            ..Told::default()
        },
        Told {
            flags: &["--cors-origins", "https://a.example", "--cors-origins", "http://localhost:5173"],
            ..Told::default()
        },
    ] {
        let origins: Vec<Origin> = expected.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(told.settings().cors_origins, origins);
    }
}

#[test]
fn issuers_come_from_the_file() {
    let issuer = "[[oidc]]\nissuer = \"https://login.example.com\"\naudience = \"us\"\n\
        accounts = [\"2d2cb8b5-6f2f-4b0c-8c8c-0f8d3d5c6f10\"]\n";
    let settings = Told { file: issuer, ..Told::default() }.settings();
    assert_eq!((settings.oidc_issuers.len(), settings.oidc_issuers[0].audience.as_str()), (1, "us"));
    let plain = issuer.replace("https:", "http:");
    let problems = Told { file: &plain, ..Told::default() }.problems();
    assert!(problems[0].starts_with("file:1: the issuer"), "{problems:?}");
}

#[test]
fn flags_are_well_formed() {
    ServeArgs::augment_args(clap::Command::new("serve")).debug_assert();
    crate::Cli::command().debug_assert();
}

#[test]
fn the_management_token_comes_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let file = format!("[management]\ntoken-file = {path:?}\n");
    let told = Told { file: &file, ..Told::default() };
    std::fs::write(&path, "0123456789abcdef".repeat(4) + "\n").unwrap();
    assert!(told.settings().management_token.is_some());
    for text in ["", "secret"] {
        std::fs::write(&path, text).unwrap();
        assert!(told.problems()[0].contains("at least 43"), "{:?}", told.problems());
    }
    std::fs::remove_file(&path).unwrap();
    assert!(told.problems()[0].contains("cannot be read"), "{:?}", told.problems());
}

/// The page for operators: its table is made from ours.
#[test]
fn the_page_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/how-to/configuration.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (start, end) =
        ("<!-- settings: made by `UPDATE_DOCS=1 cargo test -p belvedere` -->\n", "<!-- end -->");
    let (before, rest) = page.split_once(start).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    let rows = keys::TABLE.iter().map(|row| {
        let about = row.about();
        let default = about.default.map_or("–".to_owned(), |value| format!("`{value}`"));
        format!("| `{}` | {} | {default} | {} |\n", about.name, about.value_name, about.help)
    });
    let table: String = rows.collect();
    let fresh =
        format!("{before}{start}| setting | value | default | is |\n|---|---|---|---|\n{table}{end}{after}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &fresh).unwrap();
    }
    assert!(fresh == page, "{} is not fresh: UPDATE_DOCS=1 cargo test -p belvedere", path.display());
}

#[test]
fn examples_in_the_documentation_are_good() {
    let mut n_examples = 0;
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/how-to")).unwrap() {
        let page = entry.unwrap().path();
        let text = std::fs::read_to_string(&page).unwrap();
        for rest in text.split("```toml\n").skip(1) {
            let file = rest.split("```").next().unwrap();
            let problems = Told { file, ..Told::default() }.values().problems;
            assert_eq!(problems, [], "{}:\n{file}", page.display());
            n_examples += 1;
        }
    }
    assert!(n_examples >= 2);
}
