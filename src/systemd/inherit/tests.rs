//! Sockets of every kind, and a process of our own that inherits some.

use super::*;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};

fn names_of(count: &str, names: &str) -> io::Result<Vec<String>> {
    super::names(Some("42"), Some(count), Some(names), 42)
}

#[test]
fn descriptors_are_ours_if_the_process_is() {
    let of = |pid, count| super::names(pid, count, None, 42).expect("well-formed");
    assert_eq!(of(Some("42"), Some("2")), [UNKNOWN, UNKNOWN]);
    for pid in [None, Some(""), Some("41"), Some("x")] {
        assert_eq!(of(pid, Some("2")), [""; 0], "{pid:?}");
    }
    assert_eq!(of(Some("42"), None), [""; 0]);
    assert_eq!(of(Some("42"), Some("0")), [""; 0]);
}

#[test]
fn names_are_as_many_as_descriptors() {
    let names = names_of("3", "web::web").expect("well-formed");
    assert_eq!(names, ["web", "", "web"]);
    assert_eq!(names_of("0", "").expect("well-formed"), [""; 0]);
    for (count, names) in [
        ("2", "web"),
        ("1", "a:b"),
        ("x", "a"),
        ("-1", "a"),
        ("4097", "a"),
    ] {
        let error = names_of(count, names).expect_err(count);
        assert!(error.to_string().contains(count), "{error}");
    }
}

#[test]
fn a_listener_says_where_it_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let addr = ListenAddr::Tcp(listener.local_addr().expect("an address"));
    assert_eq!(examine(&listener), Ok((addr, false)));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).expect("bound");
    assert_eq!(examine(&listener), Ok((ListenAddr::Unix(path), false)));
}

#[test]
fn an_ipv6_listener_says_whether_it_takes_ipv4() {
    for only in [true, false] {
        let fd = net::socket(AddressFamily::INET6, net::SocketType::STREAM, None);
        let fd = fd.expect("a socket");
        sockopt::set_ipv6_v6only(&fd, only).expect("an option");
        // On any other address the kernel says IPv6 only, whatever was asked for.
        let any: SocketAddr = "[::]:0".parse().expect("an address");
        net::bind(&fd, &any).expect("bound");
        net::listen(&fd, 1).expect("listening");
        let (_, takes_ipv4) = examine(&fd).expect("a listener");
        assert_eq!(takes_ipv4, !only);
    }
}

#[track_caller]
fn refused(fd: impl AsFd, why: &str) {
    let reason = examine(fd).expect_err(why);
    assert!(reason.contains(why), "{reason:?}");
}

#[test]
fn what_does_not_listen_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let addr = listener.local_addr().expect("an address");
    refused(
        TcpStream::connect(addr).expect("connected"),
        "does not listen",
    );
    refused(UnixStream::pair().expect("a pair").0, "does not listen");
    refused(io::pipe().expect("a pipe").0, "os error");
}

#[test]
fn an_abstract_socket_is_refused() {
    use std::os::linux::net::SocketAddrExt as _;
    let name = tempfile::tempdir().expect("a name that is nobody else's");
    let name = name.path().as_os_str().as_bytes();
    let addr = std::os::unix::net::SocketAddr::from_abstract_name(name).expect("an address");
    refused(UnixListener::bind_addr(&addr).expect("bound"), "no path");
}

#[test]
fn a_socket_without_its_path_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let addr = ListenAddr::Unix(path.clone());
    let _listener = UnixListener::bind(&path).expect("bound");
    assert!(!has_lost_its_path(&addr));
    std::fs::remove_file(&path).expect("removed");
    assert!(has_lost_its_path(&addr), "it is gone");
    std::fs::write(&path, "").expect("written");
    assert!(has_lost_its_path(&addr), "it is another file");
}

/// What the children of the next tests are: it says what it has inherited.
#[test]
#[ignore = "a child of another test"]
fn child() {
    let Inheritance { listeners, strays } = inherit().expect("well-formed");
    let mut said: Vec<String> = strays.iter().map(Stray::to_string).collect();
    for Inherited { name, fd, addr, .. } in &listeners {
        let flags = rustix::io::fcntl_getfd(fd).expect("flags");
        said.push(format!("inherited {name} {addr} {flags:?}"));
    }
    let is_open = std::fs::exists("/proc/self/fd/4").expect("readable");
    said.push(format!(
        "the stray is {}",
        if is_open { "open" } else { "closed" }
    ));
    let again = inherit().expect("well-formed");
    assert!(again.listeners.is_empty() && again.strays.is_empty());
    io::stderr()
        .write_all(said.join("\n").as_bytes())
        .expect("said");
}

/// What a process says that inherits two descriptors, of these names.
fn inherited(names: &str, first: impl Into<OwnedFd>, second: impl Into<OwnedFd>) -> String {
    let run = "LISTEN_PID=$$ exec \"$0\" systemd::inherit::tests::child \
               --exact --ignored --nocapture 3<&0 4<&1 </dev/null >&2";
    let child = Command::new("sh")
        .args(["-c", run])
        .arg(std::env::current_exe().expect("a path"))
        .envs([("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", names)])
        .stdin(first.into())
        .stdout(second.into())
        .stderr(Stdio::piped())
        .output()
        .expect("started");
    let said = String::from_utf8(child.stderr).expect("UTF-8");
    assert!(child.status.success(), "{said}");
    said
}

#[track_caller]
fn says(said: &str, texts: &[&str]) {
    for text in texts {
        assert!(said.contains(text), "no {text:?} in\n{said}");
    }
}

#[test]
fn a_process_takes_what_listens_and_closes_the_rest() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let addr = listener.local_addr().expect("an address");
    let stray = UdpSocket::bind("127.0.0.1:0").expect("bound");
    let said = inherited("web:dns", listener, stray);
    let listener = format!("inherited web {addr} FdFlags(CLOEXEC)");
    let stray = "calls `dns` is closed: it is no stream socket";
    says(&said, &[&listener, stray, "the stray is closed"]);
}

#[test]
fn a_process_closes_a_stored_socket_without_its_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let bind = |name| UnixListener::bind(folder.path().join(name)).expect("bound");
    let (of_a_unit, stored) = (bind("unit"), bind("stored"));
    for name in ["unit", "stored"] {
        std::fs::remove_file(folder.path().join(name)).expect("removed");
    }
    let said = inherited("web:replyd=unix_x", of_a_unit, stored);
    let stray = "calls `replyd=unix_x` is closed: unix:/";
    says(
        &said,
        &["inherited web unix:/", stray, "the stray is closed"],
    );
}
