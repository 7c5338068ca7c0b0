//! What holds for every framing: how a stream is cut changes nothing, and no bytes
//! make the reader panic. Also the helpers of the tests beside the code.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

mod http;

/// What a stream came to, with the bytes copied out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Seen {
    Complete { head: Vec<u8>, body: Vec<u8> },
    Fault(Fault),
    Nothing,
}

impl Seen {
    pub(super) fn complete(head: &str, body: &str) -> Self {
        Self::Complete {
            head: head.into(),
            body: body.into(),
        }
    }
}

/// Rules that keep everything, with limits no short test meets.
pub(super) fn rules(framing: Framing) -> Rules {
    Rules {
        framing,
        max_request_bytes: 64 * 1024,
        max_head_bytes: 16 * 1024,
        keep_head: true,
        keep_body: true,
    }
}

/// The most that `Reader::advance` promises to ask to keep.
fn kept_max(rules: &Rules) -> usize {
    match &rules.framing {
        Framing::Nothing => 0,
        Framing::Line => rules.max_request_bytes + 1,
        Framing::Delimiter(delimiter) => rules.max_request_bytes + delimiter.len() - 1,
        Framing::Bytes(count) => count.saturating_sub(1),
        Framing::Eof => rules.max_request_bytes,
        Framing::Http => {
            let body = if rules.keep_body {
                rules.max_request_bytes
            } else {
                0
            };
            rules.max_head_bytes + body
        }
    }
}

/// Does what the exchange does: keeps what it is told, appends what arrives, and at
/// last tells that the peer has ended. Also returns `is_head` and the interim count.
pub(super) fn drive<'a>(
    rules: &Rules,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Seen, bool, usize) {
    let mut reader = Reader::new();
    let mut buffer = Vec::new();
    let mut interims = 0;
    let mut pieces = pieces.into_iter();
    // Ends with the pieces: `ended` is decisive.
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
        assert!(
            keep <= buffer.len() && keep <= kept_max(rules),
            "keep {keep}"
        );
        buffer.truncate(keep);
        interims += usize::from(interim);
    };
    let seen = match progress {
        Progress::More { .. } => panic!("more after the end"),
        Progress::Complete(request) => Seen::Complete {
            head: buffer[request.head].to_vec(),
            body: buffer[request.body].to_vec(),
        },
        Progress::Fault(fault) => Seen::Fault(fault),
        Progress::Nothing => Seen::Nothing,
    };
    (seen, reader.is_head(), interims)
}

/// Asserts what `stream` comes to: in one piece, byte by byte, and in every two.
#[track_caller]
pub(super) fn check(rules: &Rules, stream: impl AsRef<[u8]>, expected: &Seen) {
    let stream = stream.as_ref();
    let shown = stream.escape_ascii();
    let whole = drive(rules, [stream]);
    assert_eq!(&whole.0, expected, "in one piece: {shown}");
    let bytes = drive(rules, stream.chunks(1));
    assert_eq!(
        (&bytes.0, bytes.1),
        (expected, whole.1),
        "byte by byte: {shown}"
    );
    for at in 0..=stream.len() {
        let halves = [&stream[..at], &stream[at..]];
        let two = drive(rules, halves);
        assert_eq!((&two.0, two.1), (expected, whole.1), "cut at {at}: {shown}");
    }
}

/// Cuts `stream` at the given places, in any order, some perhaps twice.
fn cut<'a>(stream: &'a [u8], places: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|at| at.index(stream.len() + 1)).collect();
    places.extend([0, stream.len()]);
    places.sort_unstable();
    places.windows(2).map(|w| &stream[w[0]..w[1]]).collect()
}

fn any_framing() -> impl Strategy<Value = Framing> {
    prop_oneof![
        1 => Just(Framing::Nothing),
        2 => Just(Framing::Line),
        2 => select(&["\0", "\r\n", "\r\n\r\n", "aab", "\n\n\n"][..])
            .prop_map(|text| Framing::Delimiter(text.as_bytes().into())),
        1 => (0..20_usize).prop_map(Framing::Bytes),
        1 => Just(Framing::Eof),
        8 => Just(Framing::Http),
    ]
}

prop_compose! {
    fn any_rules()(
        framing in any_framing(),
        max_request_bytes in prop_oneof![0..24_usize, Just(4096)],
        max_head_bytes in prop_oneof![1 => 0..160_usize, 3 => Just(4096)],
        keep_head: bool,
        keep_body: bool,
    ) -> Rules {
        Rules { framing, max_request_bytes, max_head_bytes, keep_head, keep_body }
    }
}

/// Bytes that mean something somewhere, in any order.
fn any_fragments() -> impl Strategy<Value = Vec<u8>> {
    let fragments = [
        "GET / HTTP/1.1\r\n",
        "POST /a?b HTTP/1.1\r\n",
        "HEAD * HTTP/1.0\r\n",
        "Host: h\r\n",
        "Content-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Expect: 100-continue\r\n",
        "\r\n",
        "\n",
        "\r",
        " ",
        "0",
        "5",
        "\0",
        ";",
        ":",
        "a",
        "aab",
        "hello",
        "5\r\nhello\r\n",
        "0\r\n\r\n",
        "\x16\x03\x01",
        "HTTP/2.0",
        "PRI ",
        "f",
        "X: y",
    ];
    vec(select(fragments.to_vec()), 0..16).prop_map(|parts| parts.concat().into_bytes())
}

/// A well-formed HTTP request of a body that is chunked or not.
fn any_request() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let line = select(vec![
        "GET /",
        "POST /p?q",
        "PUT http://h/",
        "HEAD /",
        "OPTIONS *",
    ]);
    let header = select(vec![
        "",
        "X: y\r\n",
        "Expect: 100-continue\r\n",
        "Accept:\t*/*\n",
    ]);
    let chunks = vec(vec(any::<u8>(), 1..12), 0..5);
    let extension = select(vec!["", ";a", " ; a=\"b\""]);
    (line, header, chunks, any::<bool>(), extension).prop_map(
        |(line, header, chunks, is_chunked, extension)| {
            let body = chunks.concat();
            let start = format!("{line} HTTP/1.1\r\nHost: h\r\n{header}");
            let mut stream = start.into_bytes();
            if is_chunked {
                stream.extend_from_slice(b"Transfer-Encoding: Chunked\r\n\r\n");
                for chunk in chunks {
                    stream.extend(format!("{:x}{extension}\r\n", chunk.len()).bytes());
                    stream.extend(chunk);
                    stream.extend_from_slice(b"\r\n");
                }
                stream.extend(format!("0{extension}\r\nT: u\r\n\r\n").bytes());
            } else {
                stream.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
                stream.extend_from_slice(&body);
            }
            (stream, body)
        },
    )
}

/// A well-formed request with a few bytes overwritten, inserted or taken out.
fn any_mutant() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), select(b"\r\n 0:;".to_vec())];
    let edits = vec((any::<Index>(), byte, 0..3_u8), 0..4);
    (any_request(), edits).prop_map(|((mut stream, _), edits)| {
        for (at, byte, edit) in edits {
            let at = at.index(stream.len());
            match edit {
                0 => stream[at] = byte,
                1 => stream.insert(at, byte),
                _ => drop(stream.remove(at)),
            }
        }
        stream
    })
}

fn any_stream() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => any_fragments(),
        1 => vec(any::<u8>(), 0..80),
        4 => any_mutant(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2048,
        // A test run leaves no files in the tree; a failure prints its input.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn how_a_stream_is_cut_changes_nothing(
        rules in any_rules(),
        stream in any_stream(),
        places in vec(any::<Index>(), 0..6),
    ) {
        let (whole, is_head, _) = drive(&rules, [&stream[..]]);
        // Byte by byte, with calls that bring nothing, and at random.
        let streams = [
            stream.chunks(1).collect::<Vec<_>>(),
            [&[][..], &stream, &[]].into(),
            cut(&stream, &places),
        ];
        for pieces in streams {
            let (seen, seen_is_head, interims) = drive(&rules, pieces);
            prop_assert_eq!(&seen, &whole);
            prop_assert_eq!(seen_is_head, is_head);
            prop_assert!(interims <= 1);
        }
    }

    #[test]
    fn what_comes_after_the_deciding_byte_changes_nothing(
        rules in any_rules(),
        stream in any_stream(),
        more in vec(any::<u8>(), 0..40),
    ) {
        let mut reader = Reader::new();
        let decided = reader.advance(&rules, &mut stream.clone());
        if !matches!(decided, Progress::More { .. }) {
            let (whole, ..) = drive(&rules, [&stream[..]]);
            let (longer, ..) = drive(&rules, [&[&stream[..], &more].concat()[..]]);
            prop_assert_eq!(longer, whole);
        }
    }

    #[test]
    fn a_well_formed_body_comes_out_as_it_went_in(
        (stream, body) in any_request(),
        keep_head: bool,
        keep_body: bool,
        places in vec(any::<Index>(), 0..6),
    ) {
        let rules = Rules { keep_head, keep_body, ..rules(Framing::Http) };
        let (seen, ..) = drive(&rules, cut(&stream, &places));
        let Seen::Complete { head, body: seen_body } = seen else {
            return Err(TestCaseError::fail(format!("{seen:?}")));
        };
        prop_assert_eq!(seen_body, if keep_body { body } else { Vec::new() });
        prop_assert_eq!(Head::parse(&head).is_some(), keep_head);
        prop_assert!(head.is_empty() || stream.starts_with(&head));
    }

    #[test]
    fn a_head_that_is_found_complete_can_be_looked_at(stream in any_stream()) {
        if let (Seen::Complete { head, .. }, ..) = drive(&rules(Framing::Http), [&stream[..]]) {
            let head = Head::parse(&head).expect("a complete head");
            prop_assert!(head.path.starts_with('/') || head.path == "*");
        }
        // Any other bytes only must not panic.
        let _ = Head::parse(&stream).map(|head| head.headers().count());
    }
}
