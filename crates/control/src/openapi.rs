//! The API in machine-readable form, generated from the code that serves it.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::http::management::accounts;
use crate::http::{connection, conversions, sessions, sts};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Belvedere",
        description = "Remote rendering sessions, compatible with Azure Remote Rendering 2021-01-01.",
        version = "2021-01-01",
        license(name = "MIT OR Apache-2.0"),
    ),
    paths(
        sts::token,
        sessions::create,
        sessions::get,
        sessions::update,
        sessions::stop,
        sessions::list,
        conversions::create,
        conversions::get,
        conversions::list,
        connection::connect,
        connection::disconnect,
        connection::still,
        accounts::operations,
        accounts::check_name,
        accounts::list_by_subscription,
        accounts::list_by_group,
        accounts::create,
        accounts::get,
        accounts::update,
        accounts::delete,
        accounts::list_keys,
        accounts::regenerate_keys,
    ),
    modifiers(&Credentials)
)]
struct Document;

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer = || HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        for (name, scheme) in [("accessToken", bearer().bearer_format("JWT")), ("managementToken", bearer())]
        {
            components.add_security_scheme(name, SecurityScheme::Http(scheme.build()));
        }
    }
}

/// The OpenAPI document, as committed in `api/openapi.json`.
pub fn openapi_json() -> String {
    // Made of strings and numbers, so it always serialises.
    let mut json = Document::openapi().to_pretty_json().unwrap_or_default();
    json.push('\n');
    json
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_document_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../api/openapi.json");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        let generated = super::openapi_json();
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(path, &generated).unwrap();
        } else {
            assert!(committed == generated, "api/openapi.json is stale: run this test with UPDATE_OPENAPI=1");
        }
    }
}
