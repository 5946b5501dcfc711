//! Names, and what stands in bodies: checked, and written in one way.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::StatusCode;
use serde_json::{Map, Value};

use crate::http::errors::ApiError;
use crate::http::route::Path;
use crate::http::{JSON_BYTES_MAX, read_body};
use crate::store::management::Place;

/// What Azure allows.
const NAME_CHARS_MAX: usize = 90;
const TAGS_MAX: usize = 50;
const TAG_NAME_CHARS_MAX: usize = 512;
const TAG_VALUE_CHARS_MAX: usize = 256;

/// The rule for names, in words.
pub(super) const NAME_RULE: &str = "A name has 1 to 90 letters, digits, and - _ . ( ), and not only dots.";

pub(super) fn is_name(text: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.()".contains(&byte))
        && !text.bytes().all(|byte| byte == b'.')
}

/// A name as it stands in an address: some HTTP libraries escape parentheses, which are all that is to be escaped.
fn name_of(text: &str, code: &str) -> Result<String, ApiError> {
    let name = text.replace("%28", "(").replace("%29", ")");
    if is_name(&name) { Ok(name) } else { Err(ApiError::new(StatusCode::BAD_REQUEST, code, NAME_RULE)) }
}

pub(super) fn subscription_of(text: &str) -> Result<String, ApiError> {
    name_of(text, "InvalidSubscriptionId")
}

pub(super) fn group_of(text: &str) -> Result<String, ApiError> {
    name_of(text, "InvalidResourceGroup")
}

pub(super) fn place_of(path: Path<'_>) -> Result<Place, ApiError> {
    Ok(Place {
        subscription: subscription_of(path.subscription)?,
        group: group_of(path.group)?,
        name: name_of(path.name, "InvalidResourceName")?,
    })
}

/// A JSON object; nothing at all counts as an empty one.
pub(super) async fn object(body: Body) -> Result<Map<String, Value>, ApiError> {
    let bytes = read_body(body, JSON_BYTES_MAX).await?;
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_slice(&bytes).map_err(|_odd| invalid_content("The body is not a JSON object."))
}

/// As Azure stores it: `West Europe` is `westeurope`.
pub(super) fn location_of(body: &Map<String, Value>) -> Result<Option<String>, ApiError> {
    let refuse = || {
        ApiError::new(StatusCode::BAD_REQUEST, "InvalidLocation", "The location is not the name of a place.")
    };
    match body.get("location") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            let location = text.replace(' ', "").to_ascii_lowercase();
            let good = is_name(&location) && location.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if good { Ok(Some(location)) } else { Err(refuse()) }
        }
        Some(_) => Err(refuse()),
    }
}

pub(super) fn tags_of(body: &Map<String, Value>) -> Result<Option<BTreeMap<String, String>>, ApiError> {
    let tags = match body.get("tags") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(tags)) => tags,
        Some(_) => return Err(invalid_content("The tags are not an object of strings.")),
    };
    if tags.len() > TAGS_MAX {
        let message = format!("An account has at most {TAGS_MAX} tags.");
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "TooManyTags", message));
    }
    let mut checked = BTreeMap::new();
    for (name, value) in tags {
        let value =
            value.as_str().ok_or_else(|| invalid_content("The tags are not an object of strings."))?;
        let fits = !name.is_empty()
            && name.chars().count() <= TAG_NAME_CHARS_MAX
            && value.chars().count() <= TAG_VALUE_CHARS_MAX;
        if !fits {
            return Err(invalid_content(&format!(
                "A tag's name has 1 to {TAG_NAME_CHARS_MAX} characters, its value at most {TAG_VALUE_CHARS_MAX}."
            )));
        }
        checked.insert(name.clone(), value.to_owned());
    }
    Ok(Some(checked))
}

pub(super) fn invalid_content(message: &str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "InvalidRequestContent", message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_azures() {
        for good in ["a", "A-z_0.9", "(x)", &"n".repeat(90)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "ä", "%41", &"n".repeat(91)] {
            assert!(!is_name(bad), "{bad}");
        }
        assert_eq!(name_of("%28x%29", "Code").unwrap(), "(x)");
    }

    #[test]
    fn tags_are_bounded() {
        let tags = |tags: Value| tags_of(json!({ "tags": tags }).as_object().unwrap()).map_err(drop);
        assert_eq!(tags(json!({ "a": "1" })), Ok(Some(BTreeMap::from([("a".to_owned(), "1".to_owned())]))));
        assert_eq!(tags(Value::Null), Ok(None));
        for odd in [json!([]), json!({ "a": 1 }), json!({ "": "" }), json!({ "a": "x".repeat(257) })] {
            assert_eq!(tags(odd), Err(()));
        }
        let many: Map<String, Value> = (0..51).map(|n| (n.to_string(), json!(""))).collect();
        assert_eq!(tags(Value::Object(many)), Err(()));
    }

    #[test]
    fn locations_are_written_in_one_way() {
        let location =
            |value: Value| location_of(json!({ "location": value }).as_object().unwrap()).map_err(drop);
        assert_eq!(location(json!("West Europe")), Ok(Some("westeurope".to_owned())));
        assert_eq!(location(Value::Null), Ok(None));
        for odd in [json!(""), json!("a/b"), json!(3)] {
            assert_eq!(location(odd), Err(()));
        }
    }
}
