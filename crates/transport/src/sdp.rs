//! Session descriptions: what is refused, and why.

use std::net::SocketAddr;

/// Why an offer was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// The text is not an offer that we can answer.
    #[error("the offer cannot be used: {0}")]
    BadOffer(String),
    /// The other side cannot decode what we encode.
    #[error("the offer has no codec that this host encodes; H.264 with packetization-mode=1 is needed")]
    NoCodec,
}

/// Why an answer was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the answer cannot be used: {0}")]
pub struct AnswerError(pub(crate) String);

/// The UDP addresses that a session description offers, in its order. Names (`.local`) are left out.
pub fn candidates(sdp: &str) -> Vec<SocketAddr> {
    // RFC 8839, section 5.1: a=candidate:foundation component transport priority address port typ …
    sdp.lines()
        .filter_map(|line| line.trim_end().strip_prefix("a=candidate:"))
        .filter_map(|candidate| {
            let mut words = candidate.split(' ').skip(2);
            let (transport, _priority, address, port) =
                (words.next()?, words.next()?, words.next()?, words.next()?);
            if !transport.eq_ignore_ascii_case("udp") {
                return None;
            }
            Some(SocketAddr::new(address.parse().ok()?, port.parse().ok()?))
        })
        .collect()
}

/// The identification of the first video section that is not rejected.
pub(crate) fn video_mid(sdp: &str) -> Option<&str> {
    let mut in_video = false;
    for line in sdp.lines().map(str::trim_end) {
        if line.starts_with("m=") {
            // RFC 8829, section 5.3.1: port 0 rejects.
            in_video = line.starts_with("m=video ") && !line.starts_with("m=video 0 ");
        } else if let (true, Some(mid)) = (in_video, line.strip_prefix("a=mid:")) {
            return Some(mid);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{candidates, video_mid};

    #[test]
    fn the_video_section_is_found() {
        let sdp = "m=audio 9 X 1\r\na=mid:a\r\nm=video 0 X 1\r\na=mid:b\r\nm=video 9 X 1\r\na=mid:c\r\n";
        assert_eq!(video_mid(sdp), Some("c"));
        assert_eq!(video_mid("m=video 0 X 1\r\na=mid:b\r\n"), None);
    }

    #[test]
    fn candidates_are_found() {
        let sdp = "v=0\r\na=candidate:1 1 udp 2130706175 127.0.0.1 4000 typ host\r\n\
                   a=candidate:2 1 tcp 1 127.0.0.1 4001 typ host tcptype passive\r\n\
                   a=candidate:3 1 UDP 1 e7a9.local 4002 typ host\r\n\
                   a=candidate:4 1 udp 1 ::1 4003 typ host\r\na=candidate:5 1 udp\r\na=candidate:\r\n";
        let found: Vec<String> = candidates(sdp).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["127.0.0.1:4000", "[::1]:4003"]);
    }
}
