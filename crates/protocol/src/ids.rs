//! Identifiers. Each is its own type, so that one is never passed for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Session and conversion ids have between 1 and 256 characters.
    #[error("an id has between 1 and 256 characters, this one has {0}")]
    Length(usize),
    /// Session and conversion ids are made of `A-Z a-z 0-9 - _`.
    #[error("an id is made of letters, digits, '-' and '_'; {0:?} is none of these")]
    Character(char),
    /// The other ids are UUIDs.
    #[error("expected a UUID such as 8f14e45f-ceea-467f-9b4c-0d5f4e1c7a11")]
    NotUuid,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps `uuid`; where it comes from is the caller's decision.
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                // Upper and lower case are one account: .NET and Java always send lower case.
                Uuid::try_parse(text).map(Self).map_err(|_not_uuid| IdError::NotUuid)
            }
        }
    };
}

uuid_id! {
    /// A tenant. Compared without regard to letter case, printed in lower case.
    AccountId
}
uuid_id! {
    /// One host process, for its whole life.
    HostId
}
uuid_id! {
    /// One client attached to a session.
    ConnectionId
}

/// A session's name, chosen by the client: 1 to 256 of `A-Z a-z 0-9 - _`, case-sensitive, unique per account.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId(String);

impl SessionId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SessionId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        if let Some(bad) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))) {
            return Err(IdError::Character(bad));
        }
        if text.is_empty() || text.len() > 256 {
            return Err(IdError::Length(text.len()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for SessionId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ids_are_checked() {
        assert!("a-B_9".parse::<SessionId>().is_ok());
        assert_eq!("a b".parse::<SessionId>(), Err(IdError::Character(' ')));
        assert_eq!("".parse::<SessionId>(), Err(IdError::Length(0)));
        assert!("x".repeat(256).parse::<SessionId>().is_ok());
        assert_eq!("x".repeat(257).parse::<SessionId>(), Err(IdError::Length(257)));
        assert!(serde_json::from_str::<SessionId>("\"a/b\"").is_err());
    }

    #[test]
    fn account_ids_match_in_any_case() {
        let lower: AccountId = "8f14e45f-ceea-467f-9b4c-0d5f4e1c7a11".parse().unwrap();
        assert_eq!("8F14E45F-CEEA-467F-9B4C-0D5F4E1C7A11".parse(), Ok(lower));
        assert_eq!("me".parse::<AccountId>(), Err(IdError::NotUuid));
    }
}
