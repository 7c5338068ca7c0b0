//! Whatever a config says can be written, read again, and is then the same.

use proptest::prelude::*;
use toml::Value;

use super::any::any_config;
use super::{SERVICE, valid};
use crate::config::document::Sources;
use crate::config::load::{Loaded, built_in, load};
use crate::config::log::{Level, LogAccess, LogFormat};
use crate::config::types::HalfClose;
use crate::config::{Config, show, written};

/// A file with every key of a config.
fn file(config: &Config) -> String {
    show::page(&Loaded {
        config: config.clone(),
        path: None,
        sources: Sources::default(),
        warnings: Vec::new(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_is_written_is_read_as_the_same(config in any_config()) {
        let file = file(&config);
        let shown = file.chars().all(|c| c == '\n' || !c.is_control());
        prop_assert!(shown, "{file:?}");
        prop_assert_eq!(valid(&file), config);
    }
}

#[test]
fn the_shipped_file_and_every_word_are_read_as_the_same() {
    let mut config = built_in().config;
    for level in [
        Level::Error,
        Level::Warn,
        Level::Info,
        Level::Debug,
        Level::Trace,
    ] {
        config.log.level = level;
        assert_eq!(valid(&file(&config)), config);
    }
    for format in [
        LogFormat::Auto,
        LogFormat::Human,
        LogFormat::Journald,
        LogFormat::Json,
    ] {
        config.log.format = format;
        assert_eq!(valid(&file(&config)), config);
    }
    for access in [
        LogAccess::Off,
        LogAccess::Failures,
        LogAccess::Sampled,
        LogAccess::All,
    ] {
        config.log.access = access;
        assert_eq!(valid(&file(&config)), config);
    }
    for half_close in [HalfClose::Reply, HalfClose::Cancel] {
        config.services[0].half_close = half_close;
        assert_eq!(valid(&file(&config)), config);
    }
    let nothing = valid(&format!("{SERVICE}read = \"nothing\""));
    assert_eq!(valid(&file(&nothing)), nothing);
}

#[test]
fn a_duration_is_whole_where_it_can_be() {
    let config = valid("[server]\ngrace_period_seconds = 10.0\ndrain_delay_seconds = 0.25");
    let server = &written::tables(&config)["server"];
    assert_eq!(server["grace_period_seconds"], Value::Integer(10));
    assert_eq!(server["drain_delay_seconds"], Value::Float(0.25));
}

#[test]
fn each_key_is_shown_with_its_origin() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.toml");
    std::fs::write(&path, "include = [\"*.d/*\"]\nqueue.capacity = 7\n").unwrap();
    std::fs::create_dir(folder.path().join("conf.d")).unwrap();
    let service = r#"[[service]]
name = "a"
listen = [
  "127.0.0.1:1",
  "[::1]:1",
]
read = "http"
reply.text = """
x
y\u0007"""
reply.headers."X.Y" = "1"
busy.headers = {}
[[service]]
name = "b"
listen = "127.0.0.1:2"
read = "http"
[service.reply]
headers = { A = "b" }
[service.reply.command]
run = ["/bin/x"]
output = "body"
exit_status = { 2 = 500, 0 = 200, 1 = 200 }
"#;
    std::fs::write(folder.path().join("conf.d/a\u{1b}.toml"), service).unwrap();
    let loaded = load(&path).unwrap();
    let page = show::page(&loaded);
    let page = page.replace(&format!("{}/", folder.path().display()), "");
    for line in [
        "capacity = 7 # server.toml:2",
        "max_wait_seconds = 0.5 # default",
        "[[service]] # conf.d/a\\u001B.toml:1",
        "listen = [\"127.0.0.1:1\", \"[::1]:1\"] # conf.d/a\\u001B.toml:3",
        "reply.text = \"x\\ny\\u0007\" # conf.d/a\\u001B.toml:8",
        "reply.status = 200 # default",
        "reply.headers.\"X.Y\" = \"1\" # conf.d/a\\u001B.toml:11",
        "busy.headers = {} # conf.d/a\\u001B.toml:12",
        "denied.headers = {} # default",
        "reply.command.run = [\"/bin/x\"] # conf.d/a\\u001B.toml:20",
        "reply.command.exit_status = { 0-1 = 200, 2 = 500 } # conf.d/a\\u001B.toml:22",
        "reply.command.environment = { PATH = \"/usr/local/bin:/usr/bin:/bin\" } # default",
        "reply.headers.A = \"b\" # conf.d/a\\u001B.toml:18",
    ] {
        let spaced = |shown: &str| shown.split_whitespace().collect::<Vec<_>>().join(" ") == line;
        assert!(page.lines().any(spaced), "no {line} in\n{page}");
    }
    assert_eq!(valid(&page), loaded.config);
}
