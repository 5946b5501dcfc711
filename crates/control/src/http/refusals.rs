//! How requests may be refused, for the OpenAPI document: what all operations of one kind have in common. What one of
//! them says in words of its own comes after these in its list.

use std::collections::BTreeMap;

use protocol::rest::ErrorBody;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema as _};

type Responses = BTreeMap<String, RefOr<Response>>;

/// Whether there is an [`ErrorBody`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    Why,
    Nothing,
}

/// Of what an access token opens.
pub(crate) struct ByAccessToken;

impl IntoResponses for ByAccessToken {
    fn responses() -> Responses {
        list(&[
            (401, "No valid access token; no body.", Says::Nothing),
            (403, "A token of another account.", Says::Why),
            (
                429,
                "Too many requests of this account; no body. `Retry-After` says when to come again.",
                Says::Nothing,
            ),
        ])
    }
}

/// Of what the management token opens.
pub(crate) struct ByManagementToken;

impl IntoResponses for ByManagementToken {
    fn responses() -> Responses {
        list(&[
            (400, "The request is not understood.", Says::Why),
            (401, "No management token.", Says::Why),
            (403, "Plain HTTP from another machine.", Says::Why),
            (404, "The management API is off.", Says::Why),
            (
                429,
                "Too many requests from this address; no body. `Retry-After` says when to come again.",
                Says::Nothing,
            ),
        ])
    }
}

/// Of requests that have a body.
pub(crate) struct OfBody;

impl IntoResponses for OfBody {
    fn responses() -> Responses {
        list(&[
            (408, "The body did not arrive in time.", Says::Why),
            (413, "The body is too long.", Says::Why),
        ])
    }
}

fn list(refusals: &[(u16, &str, Says)]) -> Responses {
    let response = |words: &str, says| {
        let response = ResponseBuilder::new().description(words);
        match says {
            Says::Why => {
                let schema = Ref::from_schema_name(ErrorBody::name());
                response.content("application/json", ContentBuilder::new().schema(Some(schema)).build())
            }
            Says::Nothing => response,
        }
    };
    refusals
        .iter()
        .map(|(status, words, says)| (status.to_string(), response(words, *says).build().into()))
        .collect()
}
