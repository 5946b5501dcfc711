//! What the service is told: flags over file over defaults, parsed once into `control::Config`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use control::{OidcIssuer, Origin, RateLimit};
use serde::Deserialize;

/// Port of the plain HTTP listener.
pub(crate) const HTTP_PORT: u16 = 8080;
/// Port of the HTTPS listener.
pub(crate) const HTTPS_PORT: u16 = 8443;

/// Flags of `serve` and `view`.
#[derive(Args, Clone, Default)]
pub(crate) struct ServeArgs {
    /// Folder for everything that must last: account, certificates, database. Default: the user's data folder.
    #[arg(long, value_name = "DIR", env = "BELVEDERE_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Address of viewer and REST without TLS, loopback only; port 0 takes a free one. Default: 127.0.0.1:8080.
    #[arg(long, value_name = "ADDR")]
    listen_http: Option<SocketAddr>,
    /// Address of REST with TLS; port 0 takes a free one. Default: 127.0.0.1:8443.
    #[arg(long, value_name = "ADDR")]
    listen_https: Option<SocketAddr>,
    /// Folder with models that clients may load.
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// How many hosts wait, started, for the next session; 0 starts each on demand. Default: 1.
    #[arg(long, value_name = "N")]
    warm_hosts: Option<u32>,
    /// Requests per minute of one account for one class of operations, and for tokens from one address; a sixth of
    /// them may come at once; 0 sets no limit. Default: 6000.
    #[arg(long, value_name = "N")]
    requests_per_minute: Option<u32>,
    /// Origin whose pages may call the API from browsers, such as https://app.example.com; may be given several times.
    /// In the file: `cors-origins`, a list. Default: none but our own.
    #[arg(long, value_name = "ORIGIN")]
    cors_origin: Vec<Origin>,
    /// TOML file with the same settings (the flags' names without dashes before them, such as `listen-http`), and `[[oidc]]` with `issuer`, `audience`,
    /// `accounts` for issuers whose tokens are taken; flags win.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The configuration file.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    data: Option<PathBuf>,
    listen_http: Option<SocketAddr>,
    listen_https: Option<SocketAddr>,
    models: Option<PathBuf>,
    warm_hosts: Option<u32>,
    requests_per_minute: Option<u32>,
    cors_origins: Option<Vec<String>>,
    #[serde(default)]
    oidc: Vec<OidcIssuer>,
}

/// Settings that are complete.
pub(crate) struct Settings {
    pub(crate) data: PathBuf,
    pub(crate) listen_http: SocketAddr,
    pub(crate) listen_https: SocketAddr,
    /// Both ports were left to us, so a busy one may be replaced by a free one.
    pub(crate) default_ports: bool,
    pub(crate) models: Option<PathBuf>,
    pub(crate) warm_hosts: u32,
    pub(crate) rate_limit: RateLimit,
    pub(crate) cors_origins: Vec<Origin>,
    pub(crate) oidc_issuers: Vec<OidcIssuer>,
}

impl ServeArgs {
    /// Flags over file over defaults.
    pub(crate) fn settings(&self) -> Result<Settings> {
        let file = self.config.as_deref().map(read_file).transpose()?.unwrap_or_default();
        let data = match self.data.clone().or(file.data) {
            Some(data) => data,
            None => default_data_dir()?,
        };
        let models = match self.models.clone().or(file.models) {
            Some(dir) => Some(
                dir.canonicalize()
                    .with_context(|| format!("the models folder {} cannot be read", dir.display()))?,
            ),
            None => None,
        };
        let cors_origins = if self.cors_origin.is_empty() {
            let origins = file.cors_origins.iter().flatten();
            origins
                .map(|text| text.parse().with_context(|| format!("{text:?} in cors-origins is no origin")))
                .collect::<Result<_>>()?
        } else {
            self.cors_origin.clone()
        };
        let http = self.listen_http.or(file.listen_http);
        let https = self.listen_https.or(file.listen_https);
        Ok(Settings {
            data,
            default_ports: http.is_none() && https.is_none(),
            listen_http: http.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], HTTP_PORT))),
            listen_https: https.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], HTTPS_PORT))),
            models,
            warm_hosts: self.warm_hosts.or(file.warm_hosts).unwrap_or(1),
            cors_origins,
            oidc_issuers: file.oidc,
            rate_limit: self
                .requests_per_minute
                .or(file.requests_per_minute)
                .map_or(control::DEFAULT_RATE_LIMIT, RateLimit::of),
        })
    }
}

fn read_file(path: &Path) -> Result<File> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("the configuration file {} cannot be read", path.display()))?;
    parse(&text).with_context(|| format!("in the configuration file {}", path.display()))
}

fn parse(text: &str) -> Result<File> {
    toml::from_str(text).map_err(|error| anyhow::anyhow!("{}", error.to_string().trim_end()))
}

/// `belvedere` in the folder where this user's programs keep data.
pub(crate) fn default_data_dir() -> Result<PathBuf> {
    match dirs::data_local_dir() {
        Some(dir) => Ok(dir.join("belvedere")),
        None => bail!("there is no home folder to keep data in; give one with --data DIR"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("belvedere.toml");
        std::fs::write(&path, "data = \"/from/file\"\nlisten-http = \"127.0.0.1:81\"\n").unwrap();
        let args = ServeArgs {
            config: Some(path),
            listen_http: Some("127.0.0.1:82".parse().unwrap()),
            ..ServeArgs::default()
        };
        let settings = args.settings().unwrap();
        assert_eq!(settings.data, Path::new("/from/file"));
        assert_eq!(settings.listen_http.port(), 82);
        assert_eq!(settings.listen_https.port(), HTTPS_PORT);
        assert!(!settings.default_ports);
    }

    #[test]
    fn issuers_come_from_the_file() {
        let text = "[[oidc]]\nissuer = \"https://login.example.com\"\naudience = \"us\"\n\
            accounts = [\"2d2cb8b5-6f2f-4b0c-8c8c-0f8d3d5c6f10\"]\n";
        let file = parse(text).unwrap();
        assert_eq!((file.oidc.len(), file.oidc[0].audience.as_str()), (1, "us"));
        let error = parse(&text.replace("audience", "audiance")).err().unwrap().to_string();
        assert!(error.contains("audiance") && error.contains("audience"), "{error}");
    }

    #[test]
    fn origins_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("belvedere.toml");
        let settings = |text: &str| {
            std::fs::write(&path, text).unwrap();
            ServeArgs { config: Some(path.clone()), ..ServeArgs::default() }.settings()
        };
        let good = settings("cors-origins = [\"http://localhost:5173\"]").unwrap();
        assert_eq!(good.cors_origins, ["http://localhost:5173".parse().unwrap()]);
        let error = settings("cors-origins = [\"*\"]").err().unwrap();
        assert!(error.to_string().contains("cors-origins"), "{error}");
    }

    #[test]
    fn a_wrong_key_or_value_is_named() {
        let error = parse("listen = 1").err().unwrap().to_string();
        assert!(error.contains("listen") && error.contains("listen-http"), "{error}");
        let error = parse("listen-http = \"8080\"").err().unwrap().to_string();
        assert!(error.contains("listen-http"), "{error}");
    }
}
