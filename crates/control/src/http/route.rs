//! Which address means what. Paths are taken raw: an id with escapes is simply no id.

use axum::http::Method;

/// Who we are to the management API.
pub(super) const PROVIDER: &str = "Microsoft.MixedReality";

/// What we have there.
pub(super) const ACCOUNTS: &str = "remoteRenderingAccounts";

/// What an address names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// Leads to the console.
    Root,
    /// Leads to the viewer.
    BareViewer,
    Health,
    Readiness,
    Metrics,
    Jwks,
    Link,
    /// A file of the viewer; empty for the page itself.
    Viewer(&'a str),
    /// A file of the console; empty for the page itself.
    Console(&'a str),
    Token {
        account: &'a str,
    },
    Rendering {
        account: &'a str,
        what: Rendering<'a>,
    },
    Management(Management<'a>),
}

/// What an address of the management API names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Management<'a> {
    /// What the API can do.
    Operations,
    NameAvailability {
        subscription: &'a str,
    },
    /// The accounts of a subscription, or of one of its groups.
    Accounts {
        subscription: &'a str,
        group: Option<&'a str>,
    },
    Account(Path<'a>),
    Keys(Path<'a>),
    RegenerateKeys(Path<'a>),
}

/// Where an account is, as it stands in an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Path<'a> {
    pub(super) subscription: &'a str,
    pub(super) group: &'a str,
    pub(super) name: &'a str,
}

/// What an address below `/accounts/{account}` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rendering<'a> {
    Sessions,
    Session { id: &'a str },
    Stop { id: &'a str },
    Connections { session: &'a str },
    Connection { session: &'a str, id: &'a str },
    Still { session: &'a str },
    Conversions,
    Conversion { id: &'a str },
}

impl Rendering<'_> {
    /// Whether it is part of the API of Azure Remote Rendering and so wants an `api-version`.
    pub(super) fn is_versioned(self) -> bool {
        match self {
            Self::Sessions
            | Self::Session { .. }
            | Self::Stop { .. }
            | Self::Conversions
            | Self::Conversion { .. } => true,
            Self::Connections { .. } | Self::Connection { .. } | Self::Still { .. } => false,
        }
    }
}

impl Route<'_> {
    /// The methods that the address takes.
    pub(super) fn methods(self) -> &'static [Method] {
        match self {
            Self::Root
            | Self::BareViewer
            | Self::Health
            | Self::Readiness
            | Self::Metrics
            | Self::Jwks
            | Self::Viewer(_)
            | Self::Console(_) => &[Method::GET, Method::HEAD],
            Self::Link | Self::Token { .. } => &[Method::GET],
            Self::Rendering { what, .. } => match what {
                Rendering::Sessions | Rendering::Conversions | Rendering::Still { .. } => &[Method::GET],
                Rendering::Session { .. } => &[Method::GET, Method::PUT, Method::PATCH],
                Rendering::Stop { .. } | Rendering::Connections { .. } => &[Method::POST],
                Rendering::Connection { .. } => &[Method::DELETE],
                Rendering::Conversion { .. } => &[Method::GET, Method::PUT],
            },
            Self::Management(what) => match what {
                Management::Operations | Management::Accounts { .. } => &[Method::GET],
                Management::Account(_) => &[Method::GET, Method::PUT, Method::PATCH, Method::DELETE],
                Management::NameAvailability { .. } | Management::Keys(_) | Management::RegenerateKeys(_) => {
                    &[Method::POST]
                }
            },
        }
    }
}

/// Reads the raw path. Fixed segments match in any letter case, as they do on Azure.
pub(super) fn parse(path: &str) -> Option<Route<'_>> {
    let path = path.strip_prefix('/')?;
    match path {
        "" | "console" => return Some(Route::Root),
        "viewer" => return Some(Route::BareViewer),
        "healthz" => return Some(Route::Health),
        "readyz" => return Some(Route::Readiness),
        "metrics" => return Some(Route::Metrics),
        ".well-known/jwks.json" => return Some(Route::Jwks),
        "internal/link" => return Some(Route::Link),
        _ => {}
    }
    if let Some(file) = path.strip_prefix("viewer/") {
        return Some(Route::Viewer(file));
    }
    if let Some(file) = path.strip_prefix("console/") {
        return Some(Route::Console(file));
    }
    // Bounded: the longest known path has nine segments.
    let segments: Vec<&str> = path.splitn(10, '/').collect();
    if let Some(what) = management(&segments) {
        return Some(Route::Management(what));
    }
    let [accounts, account, kind, rest @ ..] = segments.as_slice() else { return None };
    if !is(accounts, "accounts") || segments.iter().any(|segment| segment.is_empty()) {
        return None;
    }
    let what = match *rest {
        [] if is(kind, "token") => return Some(Route::Token { account }),
        [] if is(kind, "sessions") => Rendering::Sessions,
        [] if is(kind, "conversions") => Rendering::Conversions,
        [id] if is(kind, "sessions") => Rendering::Session { id },
        [id] if is(kind, "conversions") => Rendering::Conversion { id },
        // Some HTTP libraries escape the colon.
        [id, verb] if is(kind, "sessions") && (is(verb, ":stop") || is(verb, "%3Astop")) => {
            Rendering::Stop { id }
        }
        [session, last] if is(kind, "sessions") && is(last, "connection") => {
            Rendering::Connections { session }
        }
        [session, last] if is(kind, "sessions") && is(last, "still") => Rendering::Still { session },
        [session, middle, id] if is(kind, "sessions") && is(middle, "connection") => {
            Rendering::Connection { session, id }
        }
        _ => return None,
    };
    Some(Route::Rendering { account, what })
}

/// Fixed segments are the same in any letter case.
fn is(segment: &str, name: &str) -> bool {
    segment.eq_ignore_ascii_case(name)
}

/// Addresses as Azure Resource Manager has them.
fn management<'a>(segments: &[&'a str]) -> Option<Management<'a>> {
    if segments.iter().any(|segment| segment.is_empty()) {
        return None;
    }
    if let [providers, ours, operations] = segments {
        let named = is(providers, "providers") && is(ours, PROVIDER) && is(operations, "operations");
        return named.then_some(Management::Operations);
    }
    let [subscriptions, subscription, rest @ ..] = segments else { return None };
    if !is(subscriptions, "subscriptions") {
        return None;
    }
    let (group, rest) = match rest {
        [groups, group, rest @ ..] if is(groups, "resourceGroups") => (Some(*group), rest),
        rest => (None, rest),
    };
    let [providers, ours, rest @ ..] = rest else { return None };
    if !(is(providers, "providers") && is(ours, PROVIDER)) {
        return None;
    }
    match (group, rest) {
        (None, [locations, _location, verb])
            if is(locations, "locations") && is(verb, "checkNameAvailability") =>
        {
            Some(Management::NameAvailability { subscription })
        }
        (group, [accounts]) if is(accounts, ACCOUNTS) => Some(Management::Accounts { subscription, group }),
        (Some(group), [accounts, name, verb @ ..]) if is(accounts, ACCOUNTS) => {
            let path = Path { subscription, group, name };
            match verb {
                [] => Some(Management::Account(path)),
                [verb] if is(verb, "listKeys") => Some(Management::Keys(path)),
                [verb] if is(verb, "regenerateKeys") => Some(Management::RegenerateKeys(path)),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart() {
        let rendering = |what| Some(Route::Rendering { account: "a", what });
        for (path, expected) in [
            ("/", Some(Route::Root)),
            ("/viewer", Some(Route::BareViewer)),
            ("/console", Some(Route::Root)),
            ("/console/latency.html", Some(Route::Console("latency.html"))),
            ("/viewer/", Some(Route::Viewer(""))),
            ("/viewer/x/y.js", Some(Route::Viewer("x/y.js"))),
            ("/Accounts/a/token", Some(Route::Token { account: "a" })),
            ("/accounts/a/sessions", rendering(Rendering::Sessions)),
            ("/accounts/a/sessions/s", rendering(Rendering::Session { id: "s" })),
            ("/accounts/a/sessions/a%20b%2Fc", rendering(Rendering::Session { id: "a%20b%2Fc" })),
            ("/accounts/a/sessions/s/:stop", rendering(Rendering::Stop { id: "s" })),
            ("/accounts/a/sessions/s/%3astop", rendering(Rendering::Stop { id: "s" })),
            ("/accounts/a/sessions/s/connection", rendering(Rendering::Connections { session: "s" })),
            (
                "/accounts/a/sessions/s/connection/c",
                rendering(Rendering::Connection { session: "s", id: "c" }),
            ),
            ("/accounts/a/sessions/s/still", rendering(Rendering::Still { session: "s" })),
            ("/accounts/a/conversions/c", rendering(Rendering::Conversion { id: "c" })),
            ("/providers/microsoft.mixedreality/Operations", Some(Route::Management(Management::Operations))),
            (
                "/subscriptions/s/resourcegroups/g/providers/Microsoft.MixedReality/remoteRenderingAccounts/n/listkeys",
                Some(Route::Management(Management::Keys(Path { subscription: "s", group: "g", name: "n" }))),
            ),
            (
                "/subscriptions/s/providers/Microsoft.MixedReality/remoteRenderingAccounts",
                Some(Route::Management(Management::Accounts { subscription: "s", group: None })),
            ),
            ("/subscriptions/s/providers/Microsoft.MixedReality/remoteRenderingAccounts/n", None),
            (
                "/subscriptions/s/resourceGroups/g/providers/Microsoft.MixedReality/spatialAnchorsAccounts/n",
                None,
            ),
            (
                "/subscriptions/s/resourceGroups//providers/Microsoft.MixedReality/remoteRenderingAccounts/n",
                None,
            ),
            ("/subscriptions", None),
            ("/v1/accounts/a/sessions/create", None),
            ("", None),
            ("*", None),
            ("/accounts", None),
            ("/accounts/a/sessions/", None),
            ("/accounts//sessions", None),
            ("/accounts/a/sessions/s/t", None),
            ("/accounts/a/sessions/s/connection/c/d/e/f/g/h", None),
        ] {
            assert_eq!(parse(path), expected, "{path}");
        }
    }
}
