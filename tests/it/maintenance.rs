//! While a file exists, another reply is given, and nothing else is made.

use std::os::unix::fs::symlink;
use std::path::Path;

use replyd::admin::Reloaded;
use rustix::process::Signal;

use crate::client::{header, parse_http};
use crate::harness::{TestServer, service, wait_until};
use crate::process::{Process, config, exchange};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// A service with a maintenance file.
fn kept(name: &str, file: &Path, keys: &str) -> String {
    let key = format!("maintenance.file = \"{}\"\n{keys}", file.display());
    service(name, &key)
}

#[track_caller]
fn wait_for(server: &TestServer, service: &str, active: bool) {
    let active = f64::from(u8::from(active));
    server.wait_for("replyd_maintenance_active", &[("service", service)], active);
}

#[test]
fn it_begins_and_ends_with_the_file_whatever_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("down");
    let server = TestServer::start(&kept(
        "hello",
        &file,
        "reply.text = \"hi {{ request }}\\n\"",
    ));
    wait_for(&server, "hello", false);
    assert_eq!(server.exchange("hello", b"you\n"), b"hi you\n");
    std::fs::write(&file, "").expect("written");
    wait_for(&server, "hello", true);
    assert_eq!(server.exchange("hello", b"you\n"), b"maint\n");
    std::fs::remove_file(&file).expect("removed");
    wait_for(&server, "hello", false);
    assert_eq!(server.exchange("hello", b"you\n"), b"hi you\n");
    symlink("nowhere", &file).expect("linked");
    wait_for(&server, "hello", true);
    assert_eq!(server.exchange("hello", b"you\n"), b"maint\n");
    server.wait_for_outcome("hello", "replied", 4);
    server.at_rest();
}

#[test]
fn it_is_known_before_the_first_connection_and_no_other_reply_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("down");
    std::fs::write(&file, "").expect("written");
    let long = "x".repeat(100_000);
    let services = [
        kept("file", &file, "reply.file = \"/no/such/file\""),
        kept("echo", &file, "read = \"eof\"\nreply.echo = true"),
        kept(
            "none",
            &file,
            "read = \"nothing\"\nreply.text = \"{{ time }}\"",
        ),
        kept("mute", &file, "reply.text = \"x\"\nmaintenance.text = \"\""),
        kept(
            "long",
            &file,
            &format!("reply.text = \"x\"\nmaintenance.text = \"{long}\""),
        ),
        service("other", "reply.text = \"hi\\n\""),
    ];
    let server = TestServer::start(&services.concat());
    assert_eq!(server.exchange("file", b"\n"), b"maint\n");
    assert_eq!(server.exchange_half_closed("echo", b"abc"), b"maint\n");
    assert_eq!(server.exchange("none", b""), b"maint\n");
    assert_eq!(server.exchange("mute", b"\n"), b"");
    assert!(server.exchange("long", b"\n") == long.as_bytes());
    assert_eq!(server.exchange("other", b"\n"), b"hi\n");
    for service in ["file", "echo", "none", "mute", "long", "other"] {
        server.wait_for_outcome(service, "replied", 1);
    }
    assert!(!server.page().contains("active{service=\"other\"}"));
    server.at_rest();
}

#[test]
fn over_http_it_is_an_answer_like_any_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("down");
    std::fs::write(&file, "").expect("written");
    let own = "read = \"http\"\nreply.file = \"/no/such/file\"\nmaintenance.status = 200\n\
               maintenance.headers = { Retry-After = \"7\" }\nmaintenance.text = \"<p>soon\"\n\
               maintenance.content_type = \"text/html\"";
    let services = [
        kept("plain", &file, "read = \"http\"\nreply.text = \"hi\""),
        kept("own", &file, own),
    ];
    let server = TestServer::start(&services.concat());
    let (status, head, body) = parse_http(&server.exchange("plain", GET));
    assert_eq!(status, 503);
    assert_eq!(body, "down for maintenance, please try again later\n");
    assert_eq!(header(&head, "Content-Length"), Some("45"));
    assert!(header(&head, "Date").is_some());
    let request = b"HEAD / HTTP/1.1\r\nHost: test\r\n\r\n";
    let (status, head, body) = parse_http(&server.exchange("plain", request));
    assert_eq!((status, body.as_str()), (503, ""));
    assert_eq!(header(&head, "Content-Length"), Some("45"));
    let (status, head, body) = parse_http(&server.exchange("own", GET));
    assert_eq!((status, body.as_str()), (200, "<p>soon"));
    assert_eq!(header(&head, "Retry-After"), Some("7"));
    assert_eq!(header(&head, "Content-Type"), Some("text/html"));
    // A request is framed as ever, and its faults are told.
    let (status, _, _) = parse_http(&server.exchange("own", b"nonsense\r\n\r\n"));
    assert_eq!(status, 400);
    server.wait_for_outcome("plain", "replied", 2);
    server.wait_for_outcome("own", "replied", 1);
    server.wait_for_outcome("own", "invalid", 1);
    server.at_rest();
}

#[track_caller]
fn reload(server: &TestServer, toml: &str, is_taken: bool) {
    let reloaded = server.reload(toml);
    let taken = matches!(reloaded, Reloaded::Taken(_));
    assert_eq!(taken, is_taken, "{reloaded:?}");
}

#[test]
fn a_reload_gives_it_takes_it_and_begins_with_what_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let [there, missing] = ["there", "missing"].map(|name| folder.path().join(name));
    std::fs::write(&there, "").expect("written");
    let listen = "listen = \"127.0.0.77:0\"\nreply.text = \"hi\\n\"";
    let without = service("hello", listen);
    let server = TestServer::start(&without);
    assert!(!server.page().contains("maintenance"));
    reload(&server, &kept("hello", &there, listen), true);
    // At once: it was looked at before it was taken.
    assert_eq!(server.exchange("hello", b"\n"), b"maint\n");
    wait_for(&server, "hello", true);
    let keys = format!("{listen}\nmaintenance.text = \"soon\\n\"");
    reload(&server, &kept("hello", &there, &keys), true);
    assert_eq!(server.exchange("hello", b"\n"), b"soon\n");
    reload(&server, &kept("hello", &missing, listen), true);
    assert_eq!(server.exchange("hello", b"\n"), b"hi\n");
    wait_for(&server, "hello", false);
    // What is refused leaves everything as it was: 192.0.2.1 is no address of this machine.
    let refused = [
        kept("hello", &there, listen),
        service("nowhere", "listen = \"192.0.2.1:9\"\nreply.text = \"x\""),
    ];
    reload(&server, &refused.concat(), false);
    assert_eq!(server.exchange("hello", b"\n"), b"hi\n");
    wait_for(&server, "hello", false);
    std::fs::write(&missing, "").expect("written");
    wait_for(&server, "hello", true);
    reload(&server, &without, true);
    assert_eq!(server.exchange("hello", b"\n"), b"hi\n");
    assert!(!server.page().contains("maintenance"));
    server.at_rest();
}

#[test]
fn it_is_logged_and_its_thread_is_there_only_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    // A name that no folder can hold: nobody can tell whether it is there.
    let long = at(&"x".repeat(256));
    let listen = "listen = \"127.0.0.78:0\"\nreply.text = \"hi\\n\"";
    let services = [
        kept("hello", &at("down"), listen),
        kept("never", &long, "reply.text = \"x\\n\""),
    ];
    let mut process = Process::with_config(folder.path(), &config(&services.concat()));
    let addr = process.addr();
    let (with, _) = process.resources();
    for _ in 0..2 {
        std::fs::write(at("down"), "").expect("written");
        let line = process.line("maintenance begins");
        assert!(
            line.contains("INFO") && line.contains("service=hello"),
            "{line}"
        );
        assert!(
            line.contains(&format!("file={}", at("down").display())),
            "{line}"
        );
        assert_eq!(exchange(addr, b"\n"), b"maint\n");
        std::fs::remove_file(at("down")).expect("removed");
        process.line("maintenance ends");
    }
    // A reload without the key ends the thread.
    let without = config(&service("hello", listen));
    std::fs::write(folder.path().join("test.toml"), without).expect("written");
    process.signal(Signal::HUP);
    process.line("reloaded");
    wait_until("a thread fewer", || process.resources().0 < with);
    assert_eq!(exchange(addr, b"\n"), b"hi\n");
    process.signal(Signal::TERM);
    let (code, said) = process.end();
    assert_eq!(code, Some(0), "{said}");
    let warned = said.lines().filter(|line| line.contains("cannot tell"));
    let warned: Vec<_> = warned.collect();
    assert!(
        warned.len() == 1 && warned[0].contains("WARN") && warned[0].contains("service=never"),
        "{said}"
    );
}
