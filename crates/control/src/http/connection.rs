//! Signalling between clients and hosts, and still pictures: relayed over the host's link.

use axum::body::Body;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use protocol::ConnectionId;
use protocol::link::Camera;
use protocol::rest::{self, SessionStatus};
use uuid::Uuid;

use super::answer::{Answer, empty, text, uncached};
use super::errors::ApiError;
use super::query::Query;
use super::refusals::{ByAccessToken, OfBody};
use super::sessions::{Found, find};
use super::{Call, is_media_type, read_body};
use crate::link::{self, Link};

/// Longest SDP offer; browsers send some ten KiB.
const OFFER_BYTES_MAX: usize = 256 * 1024;

/// Largest width and height of a still picture.
const STILL_SIDE_MAX: u32 = 4_096;

/// Connects a client: an SDP offer in, the host's answer out.
#[utoipa::path(
    post, path = "/accounts/{account_id}/sessions/{session_id}/connection", tag = "connections", operation_id = "Connect",
    params(
        ("account_id" = String, Path, description = "Account id, a UUID."),
        ("session_id" = String, Path, description = "As chosen at creation."),
    ),
    request_body(content = String, content_type = "application/sdp", description = "The SDP offer."),
    responses(
        ByAccessToken,
        OfBody,
        (status = 201, description = "The SDP answer; `Location` is the connection.", body = String, content_type = "application/sdp"),
        (status = 400, description = "`BadOffer`.", body = rest::ErrorBody),
        (status = 404, description = "There is no such session or connection.", body = rest::ErrorBody),
        (status = 406, description = "`NoCodec`: no codec in common.", body = rest::ErrorBody),
        (status = 409, description = "`ConnectionInUse`, `SessionNotReady` or `SessionEnded`.", body = rest::ErrorBody),
        (status = 415, description = "The body is not `application/sdp`.", body = rest::ErrorBody),
        (status = 503, description = "`HostUnavailable`: try again.", body = rest::ErrorBody),
    ),
    security(("accessToken" = []))
)]
pub(super) async fn connect(call: &Call<'_>, session: &str, body: Body) -> Result<Answer, ApiError> {
    let link = link_of(call, session).await?;
    if !is_media_type(&call.parts.headers, "application/sdp") {
        let message = "The offer must have the content type application/sdp.";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message));
    }
    let bad_offer = |message| ApiError::new(StatusCode::BAD_REQUEST, "BadOffer", message);
    let offer = String::from_utf8(read_body(body, OFFER_BYTES_MAX).await?.into())
        .map_err(|_odd| bad_offer("The offer is not UTF-8."))?;
    if offer.trim().is_empty() {
        return Err(bad_offer("The offer is empty."));
    }
    let connection = ConnectionId::new(Uuid::new_v4());
    let sdp = match link.connect(connection, offer, call.trace()).await? {
        link::Answer::Sdp(sdp) => sdp,
        link::Answer::Refused(error) => return Err(ApiError::of_host(error)),
        link::Answer::Png(_) => return Err(ApiError::host_unavailable()),
    };
    let mut answer = text(StatusCode::CREATED, "application/sdp", sdp);
    // The path is what the client sent, so it is a valid header, too.
    let location = format!("{}/{connection}", call.parts.uri.path());
    if let Ok(location) = HeaderValue::from_str(&location) {
        answer.headers_mut().insert(LOCATION, location);
    }
    Ok(uncached(answer))
}

/// Lets a client go.
#[utoipa::path(
    delete, path = "/accounts/{account_id}/sessions/{session_id}/connection/{connection_id}", tag = "connections", operation_id = "Disconnect",
    params(
        ("account_id" = String, Path, description = "Account id, a UUID."),
        ("session_id" = String, Path, description = "As chosen at creation."),
        ("connection_id" = String, Path, description = "From the `Location` of the connection."),
    ),
    responses(
        ByAccessToken,
        (status = 204, description = "The client has left."),
        (status = 404, description = "There is no such session or connection.", body = rest::ErrorBody),
        (status = 409, description = "`SessionNotReady` or `SessionEnded`.", body = rest::ErrorBody),
        (status = 503, description = "`HostUnavailable`: try again.", body = rest::ErrorBody),
    ),
    security(("accessToken" = []))
)]
pub(super) async fn disconnect(call: &Call<'_>, session: &str, id: &str) -> Result<Answer, ApiError> {
    let link = link_of(call, session).await?;
    let connection: Option<ConnectionId> = id.parse().ok();
    if connection.is_some_and(|connection| link.disconnect(connection)) {
        Ok(empty(StatusCode::NO_CONTENT))
    } else {
        Err(ApiError::not_found("There is no connection with this id."))
    }
}

/// The host's own picture of the scene.
#[utoipa::path(
    get, path = "/accounts/{account_id}/sessions/{session_id}/still", tag = "connections", operation_id = "Still",
    params(
        ("account_id" = String, Path, description = "Account id, a UUID."),
        ("session_id" = String, Path, description = "As chosen at creation."),
        ("width" = u32, Query, minimum = 1, maximum = 4096, description = "Pixels."),
        ("height" = u32, Query, minimum = 1, maximum = 4096, description = "Pixels."),
        ("eye" = Option<String>, Query, description = "`x,y,z` in metres; with `orientation` and `fovY`, or none of them."),
        ("orientation" = Option<String>, Query, description = "Unit quaternion `x,y,z,w`, world from view."),
        ("fovY" = Option<f32>, Query, description = "Vertical field of view in radians."),
    ),
    responses(
        ByAccessToken,
        (status = 200, description = "The host's own picture.", body = Vec<u8>, content_type = "image/png"),
        (status = 400, description = "The view is not understood.", body = rest::ErrorBody),
        (status = 404, description = "There is no such session or connection.", body = rest::ErrorBody),
        (status = 409, description = "`SessionNotReady` or `SessionEnded`.", body = rest::ErrorBody),
        (status = 500, description = "`RenderFailed`.", body = rest::ErrorBody),
        (status = 503, description = "`HostUnavailable`: try again.", body = rest::ErrorBody),
    ),
    security(("accessToken" = []))
)]
pub(super) async fn still(call: &Call<'_>, session: &str) -> Result<Answer, ApiError> {
    let link = link_of(call, session).await?;
    let (width, height, camera) = view_of(&call.query).map_err(ApiError::bad_request)?;
    match link.still(camera, width, height, call.trace()).await? {
        link::Answer::Png(png) => Ok(uncached(text(StatusCode::OK, "image/png", png))),
        link::Answer::Refused(error) => Err(ApiError::of_host(error)),
        link::Answer::Sdp(_) => Err(ApiError::host_unavailable()),
    }
}

/// The link to the host of a session that takes connections.
async fn link_of(call: &Call<'_>, session: &str) -> Result<Link, ApiError> {
    let conflict = |code, message| Err(ApiError::new(StatusCode::CONFLICT, code, message));
    match find(call, session).await? {
        Found::Live(shown) => match shown.life.status() {
            SessionStatus::Ready => shown.link.clone().ok_or_else(ApiError::host_unavailable),
            _ => conflict("SessionNotReady", "The session is not ready yet. Wait until its status is Ready."),
        },
        Found::Ended(_) => conflict("SessionEnded", "The session has ended. Create a new one."),
    }
}

fn view_of(query: &Query<'_>) -> Result<(u32, u32, Option<Camera>), String> {
    let side = |name: &str| {
        let side = query.value(name).and_then(|text| text.parse().ok());
        side.filter(|side| (1..=STILL_SIDE_MAX).contains(side))
            .ok_or_else(|| format!("{name} must be a whole number from 1 to {STILL_SIDE_MAX}."))
    };
    let (width, height) = (side("width")?, side("height")?);
    let eye = numbers::<3>(query, "eye")?;
    let orientation = numbers::<4>(query, "orientation")?;
    let fov_y = numbers::<1>(query, "fovY")?;
    let camera = match (eye, orientation, fov_y) {
        (None, None, None) => None,
        (Some(eye), Some(orientation), Some([fov_y])) => {
            let length = orientation.iter().map(|part| part * part).sum::<f32>().sqrt();
            if !(0.9..1.1).contains(&length) {
                return Err("orientation must be a unit quaternion x,y,z,w.".to_owned());
            }
            if !(0.001..3.1).contains(&fov_y) {
                return Err("fovY must be between 0.001 and 3.1 radians.".to_owned());
            }
            Some(Camera { eye, orientation: orientation.map(|part| part / length), fov_y })
        }
        _ => return Err("eye, orientation and fovY belong together: give all three or none.".to_owned()),
    };
    Ok((width, height, camera))
}

/// `N` finite numbers between commas.
fn numbers<const N: usize>(query: &Query<'_>, name: &str) -> Result<Option<[f32; N]>, String> {
    let Some(text) = query.value(name) else { return Ok(None) };
    let parts: Option<Vec<f32>> =
        text.split(',').map(|part| part.trim().parse().ok().filter(|n: &f32| n.is_finite())).collect();
    let parts = parts.and_then(|parts| parts.try_into().ok());
    parts.map(Some).ok_or_else(|| format!("{name} must be {N} number(s) between commas."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_checked() {
        let camera = "eye=0,1%2C2&orientation=0,0,0,1&fovY=0.8";
        let (width, height, view) = view_of(&Query::new(&format!("width=64&height=48&{camera}"))).unwrap();
        assert_eq!((width, height), (64, 48));
        assert_eq!(
            view,
            Some(Camera { eye: [0.0, 1.0, 2.0], orientation: [0.0, 0.0, 0.0, 1.0], fov_y: 0.8 })
        );
        assert_eq!(view_of(&Query::new("width=1&height=4096")), Ok((1, 4096, None)));
        for refused in [
            "",
            "width=1",
            "width=0&height=1",
            "width=4097&height=1",
            "width=-1&height=1",
            "width=1&height=1&eye=0,0,0",
            "width=1&height=1&eye=0,0&orientation=0,0,0,1&fovY=1",
            "width=1&height=1&eye=0,0,NaN&orientation=0,0,0,1&fovY=1",
            "width=1&height=1&eye=0,0,0&orientation=0,0,0,0&fovY=1",
            "width=1&height=1&eye=0,0,0&orientation=0,0,0,1&fovY=4",
        ] {
            assert!(view_of(&Query::new(refused)).is_err(), "{refused}");
        }
    }
}
