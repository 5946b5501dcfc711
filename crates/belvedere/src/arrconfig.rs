//! `arrconfig.json`, the configuration of Azure Remote Rendering's PowerShell scripts.
//!
//! Both of its shapes are read: the newer with `arrAccountDomain` and `remoteRenderingDomain`, and the older with
//! `region`, `authenticationEndpoint` and `serviceEndpoint`. What only conversions need is left alone. Names of fields
//! match in any letter case, as in PowerShell.

use std::path::Path;

use protocol::AccountId;
use protocol::rest::{MAX_LEASE_MINUTES, SessionSize};
use serde_json::{Map, Value};

use crate::outcome::{Exit, Failure};

/// The regions that Azure had. Nothing answers there any more.
const AZURE_REGIONS: [&str; 10] = [
    "australiaeast",
    "eastus",
    "eastus2",
    "japaneast",
    "northeurope",
    "southcentralus",
    "southeastasia",
    "uksouth",
    "westeurope",
    "westus2",
];

/// What the file says. A field that is absent, empty or still its placeholder is `None`.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct ArrConfig {
    pub(crate) account: Option<AccountId>,
    pub(crate) key: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) token_endpoint: Option<String>,
    pub(crate) size: Option<SessionSize>,
    pub(crate) lease_minutes: Option<u32>,
}

/// Reads the file. `has_endpoint`: another place says where the service is.
///
/// # Errors
/// It cannot be read, or values in it are wrong; all of them are named.
pub(crate) fn read(path: &Path, has_endpoint: bool) -> Result<ArrConfig, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::new(Exit::NotFound, format!("{} cannot be read", path.display())).because(error)
    })?;
    parse(&text, has_endpoint).map_err(|problems| {
        let failure = Failure::new(Exit::Failure, format!("{} cannot be used", path.display()));
        problems.into_iter().fold(failure, Failure::hint)
    })
}

fn parse(text: &str, has_endpoint: bool) -> Result<ArrConfig, Vec<String>> {
    // PowerShell 5 writes a byte order mark.
    let text = text.trim_start_matches('\u{feff}');
    let file: Value = serde_json::from_str(text)
        .map_err(|wrong| vec![format!("it is not JSON: {wrong}; often a comma is missing or too much")])?;
    let mut problems = Vec::new();
    let account = Section::of(&file, "accountSettings");
    let session = Section::of(&file, "renderingSessionSettings");
    let mut config = ArrConfig { key: account.text("arrAccountKey", &mut problems), ..ArrConfig::default() };

    if let Some(id) = account.text("arrAccountId", &mut problems) {
        match id.parse() {
            Ok(id) => config.account = Some(id),
            Err(_no_uuid) => problems.push(format!("accountSettings.arrAccountId: {id:?} is no UUID")),
        }
    }
    if let Some(size) = session.text("vmSize", &mut problems) {
        match SessionSize::parse(&size) {
            Some(size) => config.size = Some(size),
            None => problems.push(format!(
                "renderingSessionSettings.vmSize: {size:?} is no size; write standard or premium"
            )),
        }
    }
    if let Some(lease) = session.text("maxLeaseTime", &mut problems) {
        match time_span(&lease) {
            Ok(minutes) => config.lease_minutes = Some(minutes),
            Err(wrong) => problems.push(format!("renderingSessionSettings.maxLeaseTime: {wrong}")),
        }
    }

    let service = [(&account, "serviceEndpoint"), (&session, "remoteRenderingDomain")];
    let tokens = [(&account, "authenticationEndpoint"), (&account, "arrAccountDomain")];
    config.endpoint = place(&service, "remoterendering", has_endpoint, &mut problems);
    config.token_endpoint = place(&tokens, "sts", has_endpoint, &mut problems);
    if let Some(region) = account.text("region", &mut problems)
        && config.endpoint.is_none()
        && !has_endpoint
    {
        problems.push(format!(
            "accountSettings.region: {region:?} was a region of Azure; write where your service is as \
             accountSettings.serviceEndpoint, such as https://localhost:8443, or give --endpoint"
        ));
    }
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

/// The first of the fields that says where something is. URLs are taken as they are; a domain gets the prefix that Azure
/// gave it.
fn place(
    fields: &[(&Section<'_>, &str)],
    prefix: &str,
    has_endpoint: bool,
    problems: &mut Vec<String>,
) -> Option<String> {
    let (section, field, value) = fields
        .iter()
        .find_map(|(section, field)| Some((section.name, *field, section.text(field, problems)?)))?;
    let lower = value.to_ascii_lowercase();
    if lower.starts_with("https://") || lower.starts_with("http://") {
        return Some(value.trim_end_matches('/').to_owned());
    }
    let is_azure = AZURE_REGIONS.contains(&lower.as_str()) || lower.ends_with("mixedreality.azure.com");
    match (is_azure, has_endpoint) {
        (true, true) => None,
        (true, false) => {
            problems.push(format!(
                "{section}.{field}: {value:?} was Azure's; write the URL of your service there, such as \
                 https://localhost:8443, or give --endpoint"
            ));
            None
        }
        (false, _) => Some(format!("https://{prefix}.{value}")),
    }
}

/// One object of the file.
struct Section<'a> {
    name: &'static str,
    fields: Option<&'a Map<String, Value>>,
}

impl<'a> Section<'a> {
    fn of(file: &'a Value, name: &'static str) -> Self {
        let fields = file.as_object().and_then(|file| member(file, name)).and_then(Value::as_object);
        Self { name, fields }
    }

    /// The field's text, unless nobody has filled it in.
    fn text(&self, field: &str, problems: &mut Vec<String>) -> Option<String> {
        match self.fields.and_then(|fields| member(fields, field))? {
            Value::Null => None,
            Value::String(text) => {
                let text = text.trim();
                let is_placeholder = text.starts_with('<') && text.ends_with('>');
                (!text.is_empty() && !is_placeholder).then(|| text.to_owned())
            }
            _ => {
                problems.push(format!("{}.{field} must be a text in quotes", self.name));
                None
            }
        }
    }
}

fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// A lease: minutes as in `90`, or hours and minutes as in `1:30` or `01:30:00`.
///
/// # Errors
/// It is neither, or is more than a lease can be.
pub(crate) fn lease(text: &str) -> Result<u32, String> {
    if text.contains(':') {
        return time_span(text);
    }
    let minutes: u32 = text.parse().map_err(|_none| {
        format!("{text:?} is no lease; write minutes, as in 90, or hh:mm:ss, as in 1:30:00")
    })?;
    within(minutes)
}

/// .NET's TimeSpan as far as the scripts use it: `[d.]hh:mm[:ss]`, rounded to minutes as PowerShell does.
fn time_span(text: &str) -> Result<u32, String> {
    let odd = || format!("{text:?} is no time; write hh:mm:ss, as in 04:00:00 for four hours");
    let (days, rest) = text.split_once('.').unwrap_or(("0", text));
    let parts: Vec<u32> =
        rest.split(':').map(|part| part.parse().map_err(|_none| odd())).collect::<Result<_, _>>()?;
    let days: u32 = days.parse().map_err(|_none| odd())?;
    let (hours, minutes, seconds) = match parts.as_slice() {
        [hours, minutes] => (*hours, *minutes, 0),
        [hours, minutes, seconds] => (*hours, *minutes, *seconds),
        _ => return Err(odd()),
    };
    if minutes > 59 || seconds > 59 || hours > 24 || days > 1 {
        return Err(odd());
    }
    let whole = (days * 24 + hours) * 60 + minutes;
    // Halves go to the even minute.
    let up = seconds > 30 || (seconds == 30 && whole % 2 == 1);
    within(whole + u32::from(up))
}

fn within(minutes: u32) -> Result<u32, String> {
    if minutes > MAX_LEASE_MINUTES {
        return Err(format!("a lease has at most {MAX_LEASE_MINUTES} minutes (24 hours)"));
    }
    Ok(minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "2d2cb8b5-6f2f-4b0c-8c8c-0f8d3d5c6f10";

    fn file(account: &Value, session: &Value) -> String {
        serde_json::json!({
            "accountSettings": account,
            "renderingSessionSettings": session,
            "assetConversionSettings": { "resourceGroup": "<resource group>" },
        })
        .to_string()
    }

    #[test]
    fn the_newer_shape_is_read() {
        let text = file(
            &serde_json::json!({
                "arrAccountId": ACCOUNT, "arrAccountKey": "k=", "arrAccountDomain": "https://localhost:8443/",
            }),
            &serde_json::json!({
                "remoteRenderingDomain": "https://localhost:8443", "vmSize": "premium", "maxLeaseTime": "4:00:00",
            }),
        );
        let config = parse(&format!("\u{feff}{text}"), false).unwrap();
        assert_eq!(
            config,
            ArrConfig {
                account: Some(ACCOUNT.parse().unwrap()),
                key: Some("k=".into()),
                endpoint: Some("https://localhost:8443".into()),
                token_endpoint: Some("https://localhost:8443".into()),
                size: Some(SessionSize::Premium),
                lease_minutes: Some(240),
            }
        );
    }

    #[test]
    fn the_older_shape_is_read_in_any_letter_case() {
        let text = file(
            &serde_json::json!({
                "ArrAccountId": ACCOUNT, "region": "westus2", "authenticationEndpoint": null,
                "serviceEndpoint": "https://render.example.com",
            }),
            &serde_json::json!({ "VmSize": "Standard" }),
        );
        let config = parse(&text, false).unwrap();
        assert_eq!(config.endpoint.as_deref(), Some("https://render.example.com"));
        assert_eq!((config.token_endpoint, config.size), (None, Some(SessionSize::Standard)));
    }

    #[test]
    fn a_domain_gets_the_names_that_azure_gave() {
        let text = file(
            &serde_json::json!({ "arrAccountDomain": "arr.example.com" }),
            &serde_json::json!({ "remoteRenderingDomain": "arr.example.com" }),
        );
        let config = parse(&text, false).unwrap();
        assert_eq!(config.endpoint.as_deref(), Some("https://remoterendering.arr.example.com"));
        assert_eq!(config.token_endpoint.as_deref(), Some("https://sts.arr.example.com"));
    }

    #[test]
    fn placeholders_are_not_filled_in() {
        let text = file(
            &serde_json::json!({
                "arrAccountId": "<fill in the account ID from the Azure Portal>",
                "arrAccountKey": "<fill in the account key from the Azure Portal>",
                "region": "<select from available regions>",
            }),
            &serde_json::json!({ "vmSize": "<standard or premium>", "maxLeaseTime": "<hh:mm:ss>" }),
        );
        assert_eq!(parse(&text, false).unwrap(), ArrConfig::default());
        assert_eq!(parse("{}", false).unwrap(), ArrConfig::default());
    }

    #[test]
    fn all_that_is_wrong_is_named_at_once() {
        let text = file(
            &serde_json::json!({ "arrAccountId": "me", "arrAccountKey": 5, "arrAccountDomain": "westus2" }),
            &serde_json::json!({
                "remoteRenderingDomain": "westeurope.mixedreality.azure.com", "vmSize": "tiny", "maxLeaseTime": "4",
            }),
        );
        let problems = parse(&text, false).unwrap_err();
        let named = [
            "arrAccountKey",
            "arrAccountId",
            "vmSize",
            "maxLeaseTime",
            "remoteRenderingDomain",
            "arrAccountDomain",
        ];
        assert_eq!(problems.len(), named.len(), "{problems:?}");
        for (problem, field) in problems.iter().zip(named) {
            assert!(problem.contains(field), "{problem}");
        }
        // Where the service is may be said elsewhere.
        assert_eq!(parse(&text, true).unwrap_err().len(), 4);
        assert!(parse("{,}", false).unwrap_err()[0].contains("comma"));
        assert_eq!(parse("[]", false).unwrap(), ArrConfig::default());
    }

    #[test]
    fn regions_are_no_places_any_more() {
        let text = file(&serde_json::json!({ "region": "westus2" }), &serde_json::json!({}));
        assert!(parse(&text, false).unwrap_err()[0].contains("serviceEndpoint"));
        assert_eq!(parse(&text, true).unwrap(), ArrConfig::default());
    }

    #[test]
    fn leases_are_minutes_or_times() {
        for (text, minutes) in [
            ("90", 90),
            ("0", 0),
            ("1440", 1440),
            ("4:0:0", 240),
            ("04:00:00", 240),
            ("00:30", 30),
            ("0:0:30", 0),
            ("0:1:30", 2),
            ("0:2:30", 2),
            ("0:0:31", 1),
            ("24:00:00", 1440),
            ("1.00:00:00", 1440),
        ] {
            assert_eq!(lease(text), Ok(minutes), "{text}");
        }
        for text in [
            "",
            "x",
            "-5",
            "1441",
            "1:60",
            "1:00:60",
            "24:01:00",
            "1.00:01:00",
            "9.0:0",
            "1:2:3:4",
            ":",
            "1.5",
        ] {
            assert!(lease(text).is_err(), "{text}");
        }
        assert!(time_span("4").is_err());
    }
}
