//! HTTP requests: a load balancer's, curl's, a browser's, an upload in chunks; whole, and curl's in pieces.

use std::fmt::Write as _;

use criterion::Criterion;
use replyd::request::{Framing, Head};

use crate::framing::{read, rules};

const SMALL: &str = "GET / HTTP/1.0\r\n\r\n";

/// Source: curl 7.88.
const CURL: &str = "GET /status?verbose=1 HTTP/1.1\r\nHost: 127.0.0.1:7080\r\nUser-Agent: curl/7.88.1\r\n\
    Accept: */*\r\n\r\n";

/// Source: Firefox 128, with a cookie as large as they come.
fn browser() -> String {
    let mut head =
        "GET /status/overview?from=now-6h&to=now HTTP/1.1\r\nHost: status.example.org\r\n\
        User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
        Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
        Accept-Language: de,en-US;q=0.7,en;q=0.3\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
        DNT: 1\r\nSec-GPC: 1\r\nConnection: keep-alive\r\nUpgrade-Insecure-Requests: 1\r\n\
        Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\n\
        Sec-Fetch-User: ?1\r\nPriority: u=0, i\r\nReferer: https://status.example.org/status\r\n\
        Cache-Control: max-age=0\r\nIf-None-Match: \"33a64df551425fcc55e4d42a148795d9f25f89d4\"\r\n"
            .to_owned();
    let cookie = "0123456789abcdef".repeat(64);
    write!(head, "Cookie: session={cookie}\r\n\r\n").expect("invariant: memory takes it");
    head
}

/// 2 KiB in chunks of 256 bytes.
fn chunked() -> String {
    let chunk = format!("100\r\n{}\r\n", "x".repeat(256));
    format!(
        "POST /upload HTTP/1.1\r\nHost: 127.0.0.1:7080\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
        chunk.repeat(8)
    )
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let rules = rules(Framing::Http);
    let browser = browser();
    let mut group = criterion.benchmark_group("http");
    for (name, request, piece) in [
        ("small", SMALL, usize::MAX),
        ("curl's", CURL, usize::MAX),
        ("curl's in pieces", CURL, 16),
        ("a browser's", &browser, usize::MAX),
        ("a body in chunks", &chunked(), usize::MAX),
        ("a body in chunks, in pieces", &chunked(), 64),
    ] {
        group.bench_function(name, |bencher| {
            read(bencher, &rules, request.as_bytes(), piece);
        });
    }
    group.bench_function("a look at a browser's head", |bencher| {
        bencher.iter(|| {
            let head = Head::parse(browser.as_bytes()).expect("a head");
            head.path.len()
        });
    });
    group.finish();
}
