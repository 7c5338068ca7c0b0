//! A stream of bytes, cut and told to a reader as an exchange would.

use replyd::request::{Fault, Framing, Progress, Reader, Rules};

/// What a stream came to, with the bytes copied out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Seen {
    Complete {
        head: Vec<u8>,
        body: Vec<u8>,
        received: Vec<u8>,
    },
    Fault(Fault),
    Nothing,
}

/// The same, and what is known besides.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Read {
    pub(super) seen: Seen,
    pub(super) is_head: bool,
}

/// The most that a reader promises to ask to keep; see `Reader::advance`.
pub(super) fn kept_max(rules: &Rules) -> usize {
    match &rules.framing {
        Framing::Nothing => 0,
        Framing::Line => rules.max_request_bytes + 1,
        Framing::Delimiter(delimiter) => rules.max_request_bytes + delimiter.len() - 1,
        Framing::Bytes(count) => count.saturating_sub(1),
        Framing::Eof => rules.max_request_bytes,
        Framing::Http if rules.keep_body => rules.max_head_bytes + rules.max_request_bytes,
        Framing::Http => rules.max_head_bytes,
    }
}

/// Shows a reader `pieces` and then the end, and keeps what it asks for.
pub(super) fn read<'a>(rules: &Rules, pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let mut reader = Reader::new();
    let mut buffer = Vec::new();
    let mut interims = 0;
    let mut pieces = pieces.into_iter();
    let progress = loop {
        let progress = match pieces.next() {
            Some(piece) => {
                buffer.extend_from_slice(piece);
                reader.advance(rules, &mut buffer)
            }
            None => break reader.ended(rules, &mut buffer),
        };
        let Progress::More { keep, interim } = progress else {
            break progress;
        };
        assert!(keep <= buffer.len(), "it never saw all it wants kept");
        assert!(keep <= kept_max(rules), "{keep} bytes kept: {rules:?}");
        buffer.truncate(keep);
        interims += usize::from(interim);
    };
    assert!(interims <= 1, "{interims} times 100 Continue");
    let seen = match progress {
        Progress::More { .. } => panic!("more after the end"),
        Progress::Complete(request) => Seen::Complete {
            head: buffer[request.head].to_vec(),
            body: buffer[request.body].to_vec(),
            received: buffer[request.received].to_vec(),
        },
        Progress::Fault(fault) => Seen::Fault(fault),
        Progress::Nothing => Seen::Nothing,
    };
    Read {
        seen,
        is_head: reader.is_head(),
    }
}

/// Reads `stream` in one piece, and asserts that nothing else comes of it byte by byte, with calls
/// that bring nothing, and cut at `places`.
pub(super) fn read_in_any_pieces(rules: &Rules, stream: &[u8], places: &[u16]) -> Read {
    let whole = read(rules, [stream]);
    let splits = [
        stream.chunks(1).collect(),
        vec![&[][..], stream, &[]],
        cut(stream, places),
    ];
    for pieces in splits {
        let lengths: Vec<usize> = pieces.iter().map(|piece| piece.len()).collect();
        let read = read(rules, pieces);
        assert_eq!(read, whole, "in pieces of {lengths:?} bytes: {rules:?}");
    }
    whole
}

/// Cuts `stream` at the given places, in any order, some perhaps twice or out of it.
fn cut<'a>(stream: &'a [u8], places: &[u16]) -> Vec<&'a [u8]> {
    let within = |place: &u16| usize::from(*place) % (stream.len() + 1);
    let mut places: Vec<usize> = places.iter().map(within).collect();
    places.extend([0, stream.len()]);
    places.sort_unstable();
    let pairs = places.windows(2);
    pairs.map(|pair| &stream[pair[0]..pair[1]]).collect()
}
