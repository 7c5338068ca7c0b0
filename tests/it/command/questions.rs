//! What a command is asked: stdin and arguments.

use std::io::Write as _;

use super::{Commands, program, script, shown};
use crate::client::read_all;

const CAT: &str = "run = [\"/bin/cat\"]\n";

/// More than a pipe takes at once.
const MEGABYTE: usize = 1_000_000;

/// Says every argument as the kernel has it, each with a NUL after it; counts its runs.
const ARGUMENTS: &str = "run = [\"/bin/sh\", \"-c\", \"echo run >> runs; cat /proc/$$/cmdline\", \
                         \"sh\", \"--\", \"{{ request }}\"]\n";

#[test]
fn stdin_is_the_request_with_its_end() {
    let toml = [
        program("line", "", CAT),
        program("delimiter", "read = { delimiter = \"\\r\\n.\\r\\n\" }", CAT),
        program("bytes", "read = { bytes = 4 }", CAT),
        program("nothing", "read = \"nothing\"", CAT),
    ];
    let server = Commands::start(&toml.concat());
    for (service, request) in [
        ("line", "you\r\n"),
        ("line", "you\n"),
        ("line", "\n"),
        ("line", "\u{0}\u{ff}\u{1b}[1m; $(id)\n"),
        ("delimiter", "a\r\nb\r\n.\r\n"),
        ("bytes", "ab\r\n"),
    ] {
        let bytes: Vec<u8> = request.chars().map(|letter| letter as u8).collect();
        assert_eq!(server.exchange(service, &bytes), request, "{service}");
    }
    assert_eq!(
        server.exchange("line", b"one\ntwo\n"),
        "one\n",
        "what is behind it is not its"
    );
    assert_eq!(
        server.exchange_half_closed("line", b"half"),
        "half",
        "as it was sent"
    );
    assert_eq!(server.exchange("nothing", b""), "");
    server.at_rest();
}

#[test]
fn stdin_is_all_that_came_where_the_end_of_the_stream_ends_it() {
    let keys = "read = \"eof\"\nmax_request_bytes = 2000000";
    let options = format!("{CAT}max_output_bytes = 2000000");
    let server = Commands::start(&program("eof", keys, &options));
    let all: String = ('\u{0}'..'\u{ff}').cycle().take(MEGABYTE).collect();
    let bytes: Vec<u8> = all.chars().map(|letter| letter as u8).collect();
    assert!(
        server.exchange_half_closed("eof", &bytes) == all,
        "a megabyte goes in and comes out at the same time"
    );
    assert_eq!(server.exchange_half_closed("eof", b""), "");
    server.at_rest();
}

#[test]
fn stdin_is_the_head_and_the_body_over_http() {
    let server = Commands::start(&program("http", "read = \"http\"", CAT));
    let post = "POST /a?b HTTP/1.1\r\nHost:  test\r\nX-a: 1\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(server.exchange("http", post.as_bytes()), post);
    let get = "GET / HTTP/1.0\r\n\r\n";
    assert_eq!(server.exchange("http", get.as_bytes()), get);
    let head = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunked = format!("{head}3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nTrailer: t\r\n\r\n");
    assert_eq!(
        server.exchange("http", chunked.as_bytes()),
        format!("{head}abcdefg")
    );
    server.at_rest();
}

#[test]
fn stdin_may_be_nothing() {
    let options = format!("{CAT}stdin = \"nothing\"");
    let server = Commands::start(&program("line", "", &options));
    assert_eq!(server.exchange("line", b"you\n"), "");
    server.at_rest();
}

#[test]
fn a_request_that_is_not_read_is_no_fault() {
    let keys = "read = \"eof\"\nmax_request_bytes = 2000000";
    let toml = [
        script("never", keys, "echo answer", ""),
        script("closed", keys, "exec 0<&-; echo answer", ""),
        script("part", keys, "head -c 4; echo; exec 0<&-; echo answer", ""),
    ];
    let server = Commands::start(&toml.concat());
    let request = vec![b'x'; MEGABYTE];
    for (service, expected) in [
        ("never", "answer\n"),
        ("closed", "answer\n"),
        ("part", "xxxx\nanswer\n"),
    ] {
        for _ in 0..5 {
            assert_eq!(
                server.exchange_half_closed(service, &request),
                expected,
                "{service}"
            );
        }
        server.wait_for_runs(service, "answered", 5);
    }
    server.at_rest();
}

#[test]
fn a_request_as_an_argument_is_one_argument_and_no_option() {
    let server = Commands::start(&program("whois", "read = \"eof\"", ARGUMENTS));
    let requests: [&[u8]; 14] = [
        b"example.org",
        b"; touch X",
        b"$(touch X)",
        b"`touch X`",
        b"| touch X & touch X",
        b"-rf",
        b"--help",
        b"--",
        b"a b  c * ? ~",
        b"'\"\\",
        b"one\ntwo\r\n",
        b"\xff\xfe\x80",
        b"{{ request }}",
        b"",
    ];
    for request in requests {
        let said = server.exchange_half_closed("whois", request);
        let arguments: Vec<&str> = said.split('\0').collect();
        // Behind the last NUL there is nothing.
        assert_eq!(
            arguments[3..],
            ["sh", "--", &shown(request), ""],
            "{said:?}"
        );
    }
    assert_eq!(server.lines("runs"), requests.len());
    assert!(!server.path().join("X").exists(), "a shell has seen it");
    server.at_rest();
}

#[test]
fn a_line_as_an_argument_has_no_end() {
    let server = Commands::start(&program("whois", "", ARGUMENTS));
    for request in ["example.org\r\n", "example.org\n"] {
        let said = server.exchange("whois", request.as_bytes());
        assert!(said.ends_with("\0--\0example.org\0"), "{said:?}");
    }
}

/// C's strings end with a NUL: what is behind it would be lost, and a part taken for the whole.
#[test]
fn a_request_with_a_nul_is_never_an_argument() {
    let server = Commands::start(&program("whois", "read = \"eof\"", ARGUMENTS));
    for request in [&b"a\0b"[..], b"\0", b"a\0"] {
        let said = server.exchange_half_closed("whois", request);
        assert_eq!(said, "failed\n");
    }
    assert_eq!(server.lines("runs"), 0, "it ran");
    server.exchange_half_closed("whois", b"a");
    server.wait_for_runs("whois", "answered", 1);
    server.at_rest();
}

/// The kernel takes 128 KiB as one argument, with its NUL.
#[test]
fn a_request_that_is_too_long_for_an_argument_is_too_large() {
    const LONGEST: usize = 128 * 1024 - 1;
    let keys = format!("read = \"eof\"\nmax_request_bytes = {LONGEST}");
    let options = format!("{ARGUMENTS}max_output_bytes = 300000");
    let server = Commands::start(&program("whois", &keys, &options));
    for length in [LONGEST + 1, 200 * 1024] {
        assert_eq!(
            server.exchange_half_closed("whois", &vec![b'x'; length]),
            ""
        );
    }
    server.wait_for_outcome("whois", "too_large", 2);
    assert_eq!(server.lines("runs"), 0);
    let longest = "x".repeat(LONGEST);
    let said = server.exchange_half_closed("whois", longest.as_bytes());
    assert!(
        said.ends_with(&format!("\0--\0{longest}\0")),
        "{} bytes",
        said.len()
    );
    server.at_rest();
}

#[test]
fn many_requests_at_once_each_get_their_own_answer() {
    let server = Commands::start(&program("line", "", CAT));
    let clients: Vec<_> = (0..100).map(|_| server.connect("line")).collect();
    let mut clients: Vec<_> = clients.into_iter().enumerate().collect();
    for (number, client) in &mut clients {
        client
            .write_all(format!("{number}\n").as_bytes())
            .expect("sent");
    }
    for (number, client) in &mut clients {
        assert_eq!(shown(&read_all(client)), format!("{number}\n"));
    }
    drop(clients);
    server.wait_for_runs("line", "answered", 100);
    server.at_rest();
}
