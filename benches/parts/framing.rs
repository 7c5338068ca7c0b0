//! Where a request ends, whole and in pieces.

use criterion::{Bencher, Criterion};
use replyd::request::{Framing, Progress, Reader, Rules};

use crate::INPUTS;

/// Bytes of a request: a long line, with its terminator.
const LENGTH: usize = 1024;

/// Bytes of a piece.
const PIECE: usize = 64;

/// The limits of `server.toml`.
pub(crate) fn rules(framing: Framing) -> Rules {
    Rules {
        framing,
        max_request_bytes: 4096,
        max_head_bytes: 16 * 1024,
        keep_head: true,
        keep_body: true,
    }
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("framing");
    let delimiter: Box<[u8]> = Box::from(&b"\r\n\r\n"[..]);
    for (name, framing, end) in [
        ("line", Framing::Line, &b"\n"[..]),
        ("delimiter", Framing::Delimiter(delimiter), b"\r\n\r\n"),
        ("bytes", Framing::Bytes(LENGTH), b""),
        ("eof", Framing::Eof, b""),
    ] {
        let rules = rules(framing);
        let mut request = vec![b'x'; LENGTH - end.len()];
        request.extend_from_slice(end);
        group.bench_function(format!("{name} whole"), |bencher| {
            read(bencher, &rules, &request, LENGTH);
        });
        group.bench_function(format!("{name} in pieces"), |bencher| {
            read(bencher, &rules, &request, PIECE);
        });
    }
    group.finish();
}

/// Reads one request that comes in pieces, and the peer's end if that ends it.
pub(crate) fn read(bencher: &mut Bencher<'_>, rules: &Rules, request: &[u8], piece: usize) {
    bencher.iter_batched_ref(
        || Vec::with_capacity(request.len()),
        |kept: &mut Vec<u8>| {
            let mut reader = Reader::new();
            for piece in request.chunks(piece) {
                kept.extend_from_slice(piece);
                match reader.advance(rules, kept) {
                    Progress::More { keep, .. } => kept.truncate(keep),
                    progress => return progress,
                }
            }
            let progress = reader.ended(rules, kept);
            assert!(matches!(progress, Progress::Complete(_)), "{progress:?}");
            progress
        },
        INPUTS,
    );
}
