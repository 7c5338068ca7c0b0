//! `replyd try`: the real binary has one exchange, and tells what happened.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::geteuid;
use tempfile::TempDir;

use crate::client::{header, parse_http};
use crate::harness::service;
use crate::process::REPLYD;

pub(crate) const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// A folder that everybody may enter, with a configuration.
pub(crate) struct Tryout {
    folder: TempDir,
}

/// What a try came to.
pub(crate) struct Tried {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Tried {
    /// What a line of stderr says, without its name; the lines below it too.
    #[track_caller]
    pub(crate) fn line(&self, name: &str) -> String {
        let mut lines = self.stderr.lines();
        let first = lines.by_ref().find(|line| line.starts_with(name));
        let first = first.unwrap_or_else(|| panic!("no {name:?} in\n{}", self.stderr));
        let rest = lines.take_while(|line| line.starts_with(' '));
        let lines = [first].into_iter().chain(rest);
        let lines: Vec<&str> = lines.map(|line| line[13..].trim_end()).collect();
        lines.join("\n")
    }

    /// Asserts that a line of stderr, or those below it, say this too.
    #[track_caller]
    pub(crate) fn says(&self, name: &str, part: &str) {
        assert!(
            self.line(name).contains(part),
            "no {part:?} in\n{}",
            self.stderr
        );
    }

    /// Asserts that it is somewhere in stderr.
    #[track_caller]
    pub(crate) fn tells(&self, part: &str) {
        assert!(
            self.stderr.contains(part),
            "no {part:?} in\n{}",
            self.stderr
        );
    }

    /// Asserts exit code, outcome and reply.
    #[track_caller]
    pub(crate) fn is(&self, outcome: &str, reply: &str) {
        assert_eq!(
            String::from_utf8_lossy(&self.stdout),
            reply,
            "{}",
            self.stderr
        );
        let bytes = reply.len();
        let begin = format!("{outcome}: {bytes} bytes sent in ");
        assert!(self.line("outcome").starts_with(&begin), "{}", self.stderr);
        assert_eq!(
            self.code,
            Some(i32::from(outcome != "replied")),
            "{}",
            self.stderr
        );
    }
}

impl Tryout {
    pub(crate) fn new(toml: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), open).expect("opened");
        fs::write(folder.path().join("server.toml"), toml).expect("written");
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(REPLYD);
        command.arg("try").args(arguments);
        command.current_dir(self.folder.path());
        // What a server would not have either.
        command.env("PATH", "/nowhere").env("SECRET", "mine");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().expect("started")
    }

    pub(crate) fn run(&self, arguments: &[&str], stdin: &[u8]) -> Tried {
        let mut child = self.start(arguments);
        // It may have ended without having read it.
        let _written = child.stdin.take().expect("piped").write_all(stdin);
        ended(child)
    }

    /// Sends `request`, by stdin.
    pub(crate) fn ask(&self, service: &str, request: &[u8]) -> Tried {
        self.run(&[service, "--request", "-"], request)
    }
}

pub(crate) fn ended(child: Child) -> Tried {
    let output = child.wait_with_output().expect("waited");
    Tried {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// A service that runs a command, as whoever runs the tests.
pub(crate) fn command(name: &str, keys: &str, run: &str, keys_of_command: &str) -> String {
    let user = if geteuid().is_root() && !keys_of_command.contains("user =") {
        "user = \"root\"\n"
    } else {
        ""
    };
    let service = service(name, keys);
    let service = service.trim_end();
    format!("{service}\n[service.reply.command]\nrun = {run}\n{user}{keys_of_command}\n\n")
}

/// The same of a script, whose `$1` is `--` and whose `$2` is the request.
pub(crate) fn script(name: &str, keys: &str, text: &str, keys_of_command: &str) -> String {
    let run = format!(r#"["/bin/sh", "-c", '''{text}''', "sh", "--", "{{{{ request }}}}"]"#);
    command(name, keys, &run, keys_of_command)
}

#[test]
fn the_reply_is_on_stdout_and_what_happened_on_stderr() {
    let toml = [
        service("text", "reply.text = \"hi {{ request }}, {{ peer }}\\n\""),
        service("none", "read = \"nothing\"\nreply.text = \"hi\""),
        service("echo", "read = \"eof\"\nreply.echo = true"),
        service("file", "reply.file = \"page\""),
        service("gone", "reply.file = \"/no/such/file\""),
    ];
    let tryout = Tryout::new(&toml.concat());
    let page: Vec<u8> = (0..300_000_u32).map(|byte| byte.to_le_bytes()[0]).collect();
    fs::write(tryout.path("page"), &page).expect("written");
    tryout
        .ask("text", b"you\n")
        .is("replied", "hi you, 127.0.0.1:0\n");
    tryout
        .ask("text", b"you")
        .is("replied", "hi you, 127.0.0.1:0\n");
    tryout.run(&["none"], b"").is("replied", "hi");
    tryout.ask("echo", b"a\r\n\0b").is("replied", "a\r\n\0b");
    let tried = tryout.run(&["file", "--request", "server.toml"], b"");
    assert!(
        tried.stdout == page && tried.code == Some(0),
        "{}",
        tried.stderr
    );
    tried.says("outcome", "replied: 300000 bytes sent in 0.");
    let peer = ["text", "--request", "-", "--peer", "[2001:db8::7]:99"];
    tryout
        .run(&peer, b"you\n")
        .is("replied", "hi you, [2001:db8::7]:99\n");
    let tried = tryout.ask("gone", b"\n");
    tried.is("failed", "failed\n");
    tried.tells("file=/no/such/file error=\"No such file");
}

#[test]
fn what_a_peer_does_wrong_has_the_servers_word_and_what_it_means() {
    let toml = [
        service("line", "max_request_bytes = 8\nreply.text = \"hi\""),
        service("kept", "allow = [\"192.0.2.0/24\"]\nreply.text = \"hi\""),
        service(
            "four",
            "read = { bytes = 4 }\nhalf_close = \"cancel\"\nreply.text = \"hi\"",
        ),
    ];
    let tryout = Tryout::new(&toml.concat());
    let tried = tryout.run(&["line"], b"never read\n");
    tried.is("no_request", "");
    tried.says("that means", "--request FILE");
    let tried = tryout.ask("line", b"far too long\n");
    tried.is("too_large", "");
    tried.says("that means", "max_request_bytes = 8");
    let tried = tryout.ask("kept", b"\n");
    tried.is("denied", "denied\n");
    tried.says("that means", "keeps 127.0.0.1:0 out");
    let peer = ["kept", "--request", "-", "--peer", "192.0.2.7"];
    tryout.run(&peer, b"\n").is("replied", "hi");
    tryout.ask("four", b"abc").is("peer_closed", "");
}

#[test]
fn http_is_framed_and_answered_as_ever() {
    let keys = "read = \"http\"\nreply.text = \"{{ method }} {{ path }}\"";
    let tryout = Tryout::new(&service("web", keys));
    let tried = tryout.ask("web", GET);
    let (status, head, body) = parse_http(&tried.stdout);
    assert_eq!((status, body.as_str(), tried.code), (200, "GET /", Some(0)));
    assert!(header(&head, "Date").is_some());
    let tried = tryout.ask("web", b"HEAD /x HTTP/1.0\r\n\r\n");
    let (status, head, body) = parse_http(&tried.stdout);
    assert_eq!((status, body.as_str(), tried.code), (200, "", Some(0)));
    assert_eq!(header(&head, "Content-Length"), Some("7"));
    let tried = tryout.ask("web", b"nonsense\r\n\r\n");
    assert_eq!((parse_http(&tried.stdout).0, tried.code), (400, Some(1)));
    tried.says("outcome", "invalid: ");
    tried.says("that means", "read = \"http\"");
}

#[test]
fn root_becomes_who_the_server_and_the_command_are() {
    if !geteuid().is_root() {
        return;
    }
    let nobody = "(uid 65534, gid 65534)";
    let command = script("own", "", "id -u; id -G", "user = \"nobody\"");
    let tried = Tryout::new(&command).ask("own", b"\n");
    tried.is("replied", "65534\n65534\n");
    tried.says("as ", nobody);

    let page = service("page", "reply.file = \"page\"");
    let command = script("ours", "", "id -u", "user = \"\"");
    let tryout = Tryout::new(&format!("[server]\nuser = \"nobody\"\n{page}{command}"));
    tryout.ask("ours", b"\n").is("replied", "65534\n");
    fs::write(tryout.path("page"), "roots own").expect("written");
    fs::set_permissions(tryout.path("page"), fs::Permissions::from_mode(0o600)).expect("closed");
    let tried = tryout.ask("page", b"\n");
    tried.is("failed", "failed\n");
    tried.says("made as", nobody);
    tried.tells("Permission denied");
    chown(tryout.path("page"), Some(65_534), None).expect("given away");
    tryout.ask("page", b"\n").is("replied", "roots own");
}

#[test]
fn who_is_not_root_is_told_what_differs() {
    if !geteuid().is_root() {
        return;
    }
    let command = script("own", "", "id -u", "user = \"daemon\"");
    let tryout = Tryout::new(&format!("[server]\nuser = \"root\"\n{command}"));
    // Whoever has built it may have done so where nobody else may look.
    fs::copy(REPLYD, tryout.path("replyd")).expect("copied");
    let mut shell = Command::new("setpriv");
    shell.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "./replyd",
        "try",
    ]);
    shell
        .args(["own", "--request", "server.toml"])
        .current_dir(tryout.folder.path());
    shell.stdout(Stdio::piped()).stderr(Stdio::piped());
    let tried = ended(shell.spawn().expect("started"));
    tried.is("replied", "65534\n");
    let but = tried.line("but");
    let (of_server, of_command) = but.split_once('\n').expect("two lines");
    assert!(
        of_server.contains("`root`") && of_server.ends_with("try it as root"),
        "{but}"
    );
    assert!(of_command.contains("runs it as daemon (uid 1"), "{but}");
}

#[test]
fn what_cannot_be_tried_is_said_with_its_exit_code() {
    let tryout = Tryout::new(&service("hello", "reply.text = \"hi\""));
    let tried = tryout.run(&["helo"], b"");
    assert_eq!(tried.code, Some(64));
    assert_eq!(
        tried.stderr,
        "error: there is no service `helo` in server.toml: did you mean `hello`?\n"
    );
    let tried = tryout.run(&["clustercheck"], b"");
    tried.tells(": it has: hello\n");
    for arguments in [&[][..], &["hello", "--peer", "me"], &["hello", "there"]] {
        let tried = tryout.run(arguments, b"");
        assert_eq!(tried.code, Some(64), "{arguments:?}: {}", tried.stderr);
    }
    let tried = tryout.run(&["hello", "--request", "missing"], b"");
    assert_eq!(tried.code, Some(1));
    tried.tells("cannot read the request from missing: No such file");
    fs::write(tryout.path("bad.toml"), "nonsense = 1\n").expect("written");
    let tried = tryout.run(&["hello", "--config", "bad.toml"], b"");
    assert_eq!(
        (tried.code, tried.stdout.len()),
        (Some(78), 0),
        "{}",
        tried.stderr
    );
}
