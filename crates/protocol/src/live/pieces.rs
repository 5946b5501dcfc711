//! `rpc` messages in pieces: what is longer than a data channel message is split, and joined again.

use super::{DecodeError, Header, MAX_MESSAGE_BYTES, MAX_RPC_BYTES};

/// Splits `body` into messages of at most [`MAX_MESSAGE_BYTES`], each with a header; all but the last say that more
/// follows.
pub fn split(request: u32, body: &[u8]) -> Vec<Vec<u8>> {
    const PIECE: usize = MAX_MESSAGE_BYTES - Header::LEN;
    let n_pieces = body.len().div_ceil(PIECE).max(1);
    (0..n_pieces)
        .map(|i| {
            let piece = &body[i * PIECE..body.len().min((i + 1) * PIECE)];
            let flags = if i + 1 < n_pieces { Header::FLAG_MORE } else { 0 };
            let mut message = Vec::with_capacity(Header::LEN + piece.len());
            message.extend(Header { kind: Header::TYPE_RPC, flags, seq: request }.encode());
            message.extend(piece);
            message
        })
        .collect()
}

/// Joins pieces, of one sender, in order.
#[derive(Debug, Default)]
pub struct Joiner {
    request: u32,
    body: Vec<u8>,
    started: bool,
}

impl Joiner {
    /// Takes the next message; gives request number and body when it was the last piece. Messages of unknown type
    /// are ignored.
    ///
    /// # Errors
    /// No header, another version, a piece of another request in between, or more than [`MAX_RPC_BYTES`] in all.
    /// What was collected is dropped.
    pub fn push(&mut self, message: &[u8]) -> Result<Option<(u32, Vec<u8>)>, DecodeError> {
        let header = Header::decode(message)?;
        if header.kind != Header::TYPE_RPC {
            return Ok(None);
        }
        let piece = &message[Header::LEN..];
        if self.started && header.seq != self.request {
            *self = Self::default();
            return Err(DecodeError::Range("request number of a piece"));
        }
        if self.body.len() + piece.len() > MAX_RPC_BYTES {
            let got = self.body.len() + piece.len();
            *self = Self::default();
            return Err(DecodeError::Length { got, want: MAX_RPC_BYTES });
        }
        self.body.extend_from_slice(piece);
        self.request = header.seq;
        self.started = header.flags & Header::FLAG_MORE != 0;
        if self.started {
            return Ok(None);
        }
        Ok(Some((header.seq, std::mem::take(&mut self.body))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(messages: &[Vec<u8>]) -> Vec<(u32, Vec<u8>)> {
        let mut joiner = Joiner::default();
        messages.iter().filter_map(|message| joiner.push(message).unwrap()).collect()
    }

    #[test]
    fn what_is_split_is_joined() {
        for len in [0, 1, 16_375, 16_376, 16_377, 100_000, MAX_RPC_BYTES] {
            let body: Vec<u8> = (0..=255).cycle().take(len).collect();
            let messages = split(9, &body);
            assert!(messages.iter().all(|message| message.len() <= MAX_MESSAGE_BYTES));
            assert_eq!(join(&messages), [(9, body)]);
        }
    }

    #[test]
    fn endless_messages_are_refused() {
        let mut joiner = Joiner::default();
        let endless = &split(1, &[0; 20_000])[0];
        let refused = (0..100).find_map(|_| joiner.push(endless).err());
        assert!(matches!(refused, Some(DecodeError::Length { .. })), "{refused:?}");
        assert_eq!(joiner.push(&split(2, b"next")[0]), Ok(Some((2, b"next".to_vec()))));
    }

    #[test]
    fn pieces_do_not_mix() {
        let mut joiner = Joiner::default();
        assert_eq!(joiner.push(&split(1, &[0; 20_000])[0]), Ok(None));
        assert_eq!(joiner.push(&split(2, b"other")[0]), Err(DecodeError::Range("request number of a piece")));
        assert_eq!(joiner.push(&[1, 99, 0, 0, 0, 0, 0, 0]), Ok(None), "unknown types are ignored");
        assert_eq!(joiner.push(&[2, 16, 0, 0, 0, 0, 0, 0]), Err(DecodeError::Version(2)));
    }
}
