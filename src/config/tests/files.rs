//! Files, includes, defaults.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use tempfile::TempDir;

use super::{SERVICE, valid};
use crate::config::address::Address;
use crate::config::command::Command;
use crate::config::document::Place;
use crate::config::fault::Faults;
use crate::config::framing::Read;
use crate::config::load::{Loaded, SHIPPED, built_in, load, parse};
use crate::config::log::{Level, LogAccess, LogFormat};
use crate::config::reply::{Body, CONTENT_TYPE};
use crate::config::types::HalfClose;
use crate::config::{Config, written};

fn write(directory: &TempDir, name: &str, text: impl AsRef<[u8]>) {
    let path = directory.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Loads `server.toml` of a directory; pages name files relative to it.
fn load_in(directory: &TempDir) -> Result<Loaded, String> {
    let root = format!("{}/", directory.path().display());
    let loaded = load(&directory.path().join("server.toml"));
    loaded.map_err(|faults| faults.render(false).replace(&root, ""))
}

/// Asserts that the directory's config is wrong, and each of `phrases` on the page.
#[track_caller]
fn wrong_in(directory: &TempDir, phrases: &[&str]) {
    let page = load_in(directory).expect_err("this config is wrong");
    for phrase in phrases {
        assert!(page.contains(phrase), "no {phrase:?} in\n{page}");
    }
}

fn service(name: &str, port: u16) -> String {
    let service = SERVICE.replace("7000", &port.to_string());
    service.replace("\"a\"", &format!("\"{name}\""))
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let config = valid(SERVICE);
    assert_eq!(config.server.grace_period, Duration::from_secs(10));
    assert_eq!(config.server.drain_delay, Duration::ZERO);
    assert_eq!(config.server.max_connections, 0);
    assert_eq!((&config.server.user, &config.server.group), (&None, &None));
    assert_eq!(config.workers.threads, 0);
    assert_eq!(config.queue.capacity, 1024);
    assert_eq!(config.queue.max_wait, Duration::from_millis(500));
    assert_eq!(
        config.admin.listen,
        [Address::Tcp("127.0.0.1:7150".parse().unwrap())]
    );
    let allow: Vec<String> = config.admin.allow.iter().map(ToString::to_string).collect();
    assert_eq!(allow, ["127.0.0.0/8", "::1/128"]);
    assert_eq!(config.log.level, Level::Info);
    assert_eq!(config.log.format, LogFormat::Auto);
    assert_eq!(config.log.access, LogAccess::Off);

    let service = &config.services[0];
    assert_eq!(service.backlog, 4096);
    assert_eq!(service.read, Read::Line);
    assert_eq!(
        (service.max_request_bytes, service.max_head_bytes),
        (4096, 16384)
    );
    assert_eq!(service.request_timeout, Duration::from_secs(5));
    assert_eq!(service.reply_timeout, Duration::from_secs(30));
    assert_eq!(service.min_bytes_per_second, 1024);
    assert_eq!(service.half_close, HalfClose::Reply);
    assert_eq!(service.linger_idle, Duration::from_secs(2));
    assert_eq!(service.linger_total, Duration::from_secs(10));
    assert_eq!(service.linger_max_bytes, 262_144);
    assert_eq!(service.defer_accept, Duration::from_secs(1));
    assert_eq!(service.keepalive, Duration::ZERO);
    assert_eq!(service.user_timeout, Duration::from_secs(10));
    assert_eq!((service.threads, service.max_connections), (0, 0));
    assert!(service.allow.is_empty() && service.deny.is_empty());
    assert_eq!(
        (service.reply.status, service.reply.content_type.as_str()),
        (200, CONTENT_TYPE)
    );
    let notices = [
        &service.busy,
        &service.denied,
        &service.failed,
        &service.timed_out,
    ];
    assert_eq!(notices.map(|notice| notice.status), [503, 403, 500, 504]);
    let texts = notices.map(|notice| notice.text.as_str());
    assert_eq!(texts, ["busy\n", "denied\n", "failed\n", "timed out\n"]);
}

#[test]
fn the_shipped_file_says_every_default() {
    let shipped = built_in().config;
    let defaults = Config {
        services: shipped.services.clone(),
        ..Config::default()
    };
    assert_eq!(shipped, defaults);
    let hello = &shipped.services[0];
    let bare = "[[service]]\nname = \"hello\"\nlisten = \"127.0.0.1:7000\"\nreply.text = \"hello, {{ request }}\\n\"";
    assert_eq!(hello, &valid(bare).services[0]);
}

/// A key of a later version is not accepted before its file says so: every key but those that
/// only HTTP has is written there, in a comment if it has no default.
#[test]
fn the_shipped_file_has_every_key() {
    let loaded = built_in();
    let written = |key: &str| {
        loaded.sources.has(&Place::top(key)) || loaded.sources.has(&Place::service(0, key))
    };
    for table in ["server", "workers", "queue", "admin", "log", "service.0"] {
        let zzz = match table {
            "service.0" => format!("{SERVICE}zzz = 1"),
            _ => format!("[{table}]\nzzz = 1"),
        };
        let faults = parse(&zzz, "x").unwrap_err();
        let help = faults.as_slice()[0].help.clone().unwrap();
        let keys = help.strip_prefix("allowed here: ").unwrap().split(", ");
        for key in keys {
            let dotted = format!("{table}.{key}");
            let key = if table == "service.0" { key } else { &dotted };
            let in_comment = SHIPPED.contains(&format!("\n# {key} = "));
            assert!(written(key) || in_comment, "server.toml lacks {key}");
        }
    }
}

/// The command that the shipped file shows is commented out.
#[test]
fn the_shipped_command_is_good_and_has_every_key_at_its_default() {
    let text = include_str!("../../../server.toml");
    let (_, shown) = text.split_once("\n#[[service]]\n").unwrap();
    let lines: Vec<&str> = shown.lines().map(|line| &line[1..]).collect();
    let text = format!("[[service]]\n{}", lines.join("\n"));
    let loaded = parse(&text, "x").unwrap();
    let Body::Command(command) = &loaded.config.services[0].reply.body else {
        panic!("{text}");
    };
    let expected = Command {
        run: command.run.clone(),
        ..Command::default()
    };
    assert_eq!(**command, expected);
    let tables = written::tables(&loaded.config);
    for key in tables["service"][0]["reply"]["command"]
        .as_table()
        .unwrap()
        .keys()
    {
        let place = Place::service(0, &format!("reply.command.{key}"));
        assert!(loaded.sources.has(&place), "server.toml lacks {key}");
    }
}

#[test]
fn the_shipped_file_is_narrow_and_on_loopback() {
    let text = include_str!("../../../server.toml");
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(widest < Some(110), "{widest:?} columns");
    let loaded = built_in();
    assert_eq!(loaded.path, None);
    let names: Vec<&str> = loaded
        .config
        .services
        .iter()
        .map(|s| s.name.as_str())
        .collect();
    assert_eq!(
        names,
        ["hello", "whois", "status", "agent", "daytime", "echo"]
    );
    for service in &loaded.config.services {
        for address in &service.listen {
            assert!(
                matches!(address, Address::Tcp(a) if a.ip().is_loopback()),
                "{address}"
            );
        }
    }
    assert_eq!(loaded.config.services[5].reply.body, Body::Echo);
}

#[test]
fn nothing_is_a_config() {
    assert_eq!(valid(""), Config::default());
    assert_eq!(
        valid("\u{feff}[queue]\r\ncapacity = 2\r\n").queue.capacity,
        2
    );
}

#[test]
fn includes_are_read_in_order() {
    let directory = TempDir::new().unwrap();
    let main = format!(
        "include = [\"z.toml\", \"conf.d/*.toml\", \"conf.d/b.toml\", \"none/*.toml\"]\n{}",
        service("first", 1)
    );
    write(&directory, "server.toml", main);
    write(&directory, "z.toml", service("z", 2));
    write(&directory, "conf.d/b.toml", service("b", 4));
    write(&directory, "conf.d/a.toml", service("a", 3));
    write(&directory, "conf.d/.hidden.toml", "wrong");
    // What can't be named in a config is not meant by one.
    let latin1 = directory
        .path()
        .join("conf.d")
        .join(OsStr::from_bytes(b"\xff.toml"));
    fs::write(latin1, "wrong").unwrap();
    let loaded = load_in(&directory).unwrap();
    let names: Vec<&str> = loaded
        .config
        .services
        .iter()
        .map(|s| s.name.as_str())
        .collect();
    assert_eq!(names, ["first", "z", "a", "b"]);
    assert_eq!(loaded.path, Some(directory.path().join("server.toml")));
    let fault = loaded.fault(&Place::service(2, "reply.text"), "m", "", None);
    let page = Faults::from(fault).render(false);
    assert!(page.contains("conf.d/a.toml:4:14\n"), "\n{page}");
}

#[test]
fn a_fault_in_an_included_file_names_that_file() {
    let directory = TempDir::new().unwrap();
    write(
        &directory,
        "server.toml",
        format!("include = [\"conf.d/*\"]\n{}", service("one", 1)),
    );
    write(&directory, "conf.d/a.toml", service("one", 2));
    let page = load_in(&directory).unwrap_err();
    let expected = "\
error: two services named `one`
 --> conf.d/a.toml:2:8
  |
2 | name = \"one\"
  |        ^^^^^ the second one
  |
 ::: server.toml:3:8
  |
3 | name = \"one\"
  |        ----- the first one
  |
  = help: a name stands for one service in every metric and log line

error: 1 fault in conf.d/a.toml
";
    assert_eq!(page, expected, "\n{page}");
}

#[test]
fn an_included_file_holds_services_only() {
    let directory = TempDir::new().unwrap();
    write(
        &directory,
        "server.toml",
        "include = [\"a.toml\", \"b.toml\"]",
    );
    write(
        &directory,
        "a.toml",
        "include = []\nservices = []\n[queue]\n",
    );
    write(&directory, "b.toml", "x y\n");
    wrong_in(
        &directory,
        &[
            "an included file can't include others\n --> a.toml:1:1",
            "unknown key `services`\n --> a.toml:2:1",
            "did you mean `service`?",
            "`queue` in an included file\n --> a.toml:3:2",
            "key with no value\n --> b.toml:1:3",
            "error: 4 faults in a.toml and b.toml",
        ],
    );
}

#[test]
fn an_include_that_leads_nowhere() {
    let directory = TempDir::new().unwrap();
    write(
        &directory,
        "server.toml",
        "include = [\"none.toml\", 5, \"[x\", \"*.toml\", \"dir*\"]",
    );
    fs::create_dir(directory.path().join("dir")).unwrap();
    wrong_in(
        &directory,
        &[
            "server.toml:1:12",
            "there is no such file",
            "expected a list of files",
            "not a pattern",
            "includes this very file",
            "this is a directory, not a file\n--> dir\n",
        ],
    );
    write(&directory, "server.toml", "include = \"a\"");
    wrong_in(&directory, &["expected a list of files"]);
    let page = parse("include = [\"a\"]", "x").unwrap_err().render(false);
    assert!(page.contains("in no file"), "\n{page}");
}

#[test]
fn a_directory_may_have_a_pattern_for_a_name() {
    let directory = TempDir::new().unwrap();
    write(&directory, "[x]/server.toml", "include = [\"a.toml\"]");
    write(&directory, "[x]/a.toml", service("a", 1));
    let loaded = load(&directory.path().join("[x]/server.toml")).unwrap();
    assert_eq!(loaded.config.services.len(), 1);
}

#[test]
fn a_file_that_cannot_be_read() {
    let directory = TempDir::new().unwrap();
    let page = load_in(&directory).unwrap_err();
    let expected = "\
error: there is no such file
--> server.toml

error: 1 fault in server.toml
";
    assert_eq!(page, expected, "\n{page}");
    write(&directory, "server.toml", b"a = 1\nb = \"\xe4\"\n");
    wrong_in(&directory, &["not UTF-8: a wrong byte in line 2"]);
    write(&directory, "server.toml", " ".repeat((1 << 20) + 1));
    wrong_in(&directory, &["more than 1048576 bytes (1 MiB)"]);
    let page = load(directory.path()).unwrap_err().render(false);
    assert!(page.contains("this is a directory"), "\n{page}");
}

#[test]
fn there_can_be_many_services_but_not_any_number() {
    let directory = TempDir::new().unwrap();
    write(&directory, "server.toml", "include = [\"[0-9].toml\"]");
    let many = |range: std::ops::Range<u16>| -> String {
        range
            .map(|i| service(&format!("s{i}"), 10_000 + i))
            .collect()
    };
    write(&directory, "1.toml", many(0..5000));
    write(&directory, "2.toml", many(5000..10_000));
    assert_eq!(load_in(&directory).unwrap().config.services.len(), 10_000);
    write(&directory, "3.toml", many(20_000..20_001));
    wrong_in(&directory, &["more than 10000 services\n --> 3.toml:1:1"]);
}
