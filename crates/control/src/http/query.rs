//! The part of an address after `?`.

use std::borrow::Cow;

/// Named values; names in any letter case, the first of equal names counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The value of `name`, decoded. `None` if it is absent, empty, or not UTF-8.
    pub(super) fn value(&self, name: &str) -> Option<Cow<'a, str>> {
        let pairs = self.0.split('&').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        decoded(value).filter(|value| !value.is_empty())
    }
}

/// `None` if the text has a broken escape or is not UTF-8.
fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        bytes.push(match first {
            b'+' => b' ',
            b'%' => {
                let (digits, after) = rest.split_first_chunk::<2>()?;
                rest = after;
                let digit =
                    |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                digit(digits[0])? * 16 + digit(digits[1])?
            }
            other => *other,
        });
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_and_decoded() {
        let query = Query::new("a=1%2C2&API-Version=x&b=&c=%4&d=%ff&a=9&e&=");
        assert_eq!(query.value("a").as_deref(), Some("1,2"));
        assert_eq!(query.value("api-version").as_deref(), Some("x"));
        for absent in ["b", "c", "d", "e", "f"] {
            assert_eq!(query.value(absent), None, "{absent}");
        }
    }
}
