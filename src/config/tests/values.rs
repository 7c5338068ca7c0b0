//! The range of each value, and the rules that take more than one.

use std::path::Path;
use std::time::Duration;

use super::{SERVICE, address, in_service, one, valid};
use crate::config::address::Address;
use crate::config::framing::Read;
use crate::config::reply::{Body, CONTENT_TYPE};

#[test]
fn numbers_have_bounds() {
    one(
        "[workers]\nthreads = 513",
        &["a whole number from 0 to 512, found 513"],
    );
    one(
        "[queue]\ncapacity = 0",
        &["a whole number from 1 to 1000000, found 0"],
    );
    one("[server]\nmax_connections = 1.5", &["found 1.5"]);
    in_service("backlog = 65536", &["from 1 to 65535"]);
    in_service("max_request_bytes = 16777217", &["from 1 to 16777216"]);
    in_service("max_head_bytes = 127", &["from 128 to 1048576"]);
    in_service("min_bytes_per_second = 0", &["from 1 to"]);
    in_service(
        "threads = 99999999999999999999999999",
        &["found 99999999999999999999999999"],
    );
    in_service("read = { bytes = 16777217 }", &["from 1 to 16777216"]);
}

#[test]
fn durations_are_finite_and_not_negative() {
    for wrong in [
        "nan",
        "inf",
        "-inf",
        "-1",
        "-0.5",
        "1e10",
        "2000000000",
        "true",
        "[]",
    ] {
        let text = format!("[server]\ngrace_period_seconds = {wrong}");
        one(&text, &["expected a number of seconds, such as 5 or 0.5"]);
    }
    in_service(
        "request_timeout_seconds = 0",
        &["a number of seconds above 0"],
    );
    in_service(
        "reply_timeout_seconds = 1e-12",
        &["a number of seconds above 0"],
    );
    in_service(
        "keepalive_seconds = 0.5",
        &["a whole number of seconds from 0 to 32767"],
    );
    in_service("user_timeout_seconds = 0.0001", &["milliseconds"]);
    in_service("user_timeout_seconds = 2147484", &["at most 2147483"]);
}

#[test]
fn durations_are_whole_or_not() {
    let config = valid("[server]\ngrace_period_seconds = 0.25\ndrain_delay_seconds = 1e9");
    assert_eq!(config.server.grace_period, Duration::from_millis(250));
    assert_eq!(
        config.server.drain_delay,
        Duration::from_secs(1_000_000_000)
    );
}

#[test]
fn addresses() {
    let text = "[[service]]\nname = \"a\"\nlisten = [\"127.0.0.1:0\", \"[::1]:7000\", \"unix:/run/x\"]\nreply.text = \"\"";
    let listen = &valid(text).services[0].listen;
    assert_eq!(listen[0], Address::Tcp("127.0.0.1:0".parse().unwrap()));
    assert_eq!(listen[1], Address::Tcp("[::1]:7000".parse().unwrap()));
    assert_eq!(listen[2], Address::Unix("/run/x".into()));
    assert_eq!(listen[2].to_string(), "unix:/run/x");
}

#[test]
fn a_wrong_address_is_told_what_to_write() {
    address("web1:80", &["addresses, not names: no DNS at start"]);
    address(
        "localhost:80",
        &["not names", "\"127.0.0.1:80\", \"[::1]:80\""],
    );
    address("localhost", &["not names", "\"127.0.0.1:7000\""]);
    address("127.0.0.1", &["the port is missing", "\"127.0.0.1:7000\""]);
    address("::1", &["the port is missing", "\"[::1]:7000\""]);
    address("[::1]", &["the port is missing", "\"[::1]:7000\""]);
    address("::1:80", &["write \"[::1]:80\""]);
    address(":80", &["\"0.0.0.0:80\" for every IPv4", "\"[::]:80\""]);
    address("*:80", &["\"0.0.0.0:80\""]);
    address("80", &["\"0.0.0.0:80\""]);
    address("127.0.0.1:70000", &["a port is 0 to 65535, not 70000"]);
    address("", &["this is no address"]);
    address("/run/x", &["write \"unix:/run/x\""]);
    address("unix:x", &["starts with `/`"]);
    address("unix:/run/", &["names no socket"]);
    address(
        &format!("unix:/{}", "x".repeat(107)),
        &["at most 107 bytes", "has 108"],
    );
    one("[admin]\nlisten = []", &["the list is empty"]);
    one(
        "[admin]\nlisten = 7150",
        &["expected an address such as", "or a list of them"],
    );
}

#[test]
fn two_listeners_on_one_address() {
    let second = |listen: &str| {
        format!("{SERVICE}[[service]]\nname = \"b\"\nlisten = {listen}\nreply.text = \"\"")
    };
    let already = "service `a` listens on 127.0.0.1:7000 already";
    one(
        &second("\"127.0.0.1:7000\""),
        &["two listeners on 127.0.0.1:7000", already],
    );
    one(
        &second("\"0.0.0.0:7000\""),
        &["0.0.0.0:7000 overlaps 127.0.0.1:7000"],
    );
    one(
        &second("\"127.0.0.1:7150\""),
        &["the admin listener listens on"],
    );
    one(
        &second("[\"unix:/x\", \"unix:/x\"]"),
        &["two listeners on unix:/x"],
    );
    one(
        &second("[\"[::]:1\", \"[::1]:1\"]"),
        &["[::1]:1 overlaps [::]:1"],
    );
    valid(&second(
        "[\"127.0.0.2:7000\", \"[::]:7000\", \"127.0.0.1:0\", \"127.0.0.1:0\"]",
    ));
}

#[test]
fn framings() {
    let read = |text: &str| {
        valid(&format!("{SERVICE}read = {text}")).services[0]
            .read
            .clone()
    };
    assert_eq!(read("\"nothing\""), Read::Nothing);
    assert_eq!(read("\"http\""), Read::Http);
    assert_eq!(
        read("{ delimiter = \"\\r\\n\" }"),
        Read::Delimiter("\r\n".to_owned())
    );
    assert_eq!(read("{ bytes = 4 }"), Read::Bytes(4));
    in_service(
        "read = \"lien\"",
        &["no such way", "write \"nothing\", \"line\", \"eof\""],
    );
    in_service("read = 5", &["expected how a request ends, found 5"]);
    in_service("read = \"bytes\"", &["write { bytes = 4 }"]);
    in_service(
        "read = { lines = 4 }",
        &["unknown key `read.lines`", "delimiter, bytes"],
    );
    in_service(
        "read = { bytes = 1, delimiter = \"x\" }",
        &["exactly one of"],
    );
    in_service("read = { delimiter = \"\" }", &["an empty delimiter"]);
    let long = format!("read = {{ delimiter = \"{}\" }}", "x".repeat(65));
    in_service(&long, &["at most 64 bytes, this one has 65"]);
}

#[test]
fn words_and_names() {
    in_service(
        "half_close = \"keep\"",
        &["expected \"reply\" or \"cancel\", found \"keep\""],
    );
    one(
        "[log]\nlevel = 3",
        &["expected \"error\", \"warn\", \"info\", \"debug\" or \"trace\""],
    );
    one(
        "[log]\nformat = \"syslog\"",
        &["expected \"auto\", \"human\", \"journald\" or \"json\", found \"syslog\""],
    );
    one(
        "[log]\naccess = true",
        &["expected \"off\", \"failures\", \"sampled\" or \"all\""],
    );
    for name in ["", "Hello", "a b", "ä", &"x".repeat(64)] {
        one(
            &SERVICE.replace("\"a\"", &format!("\"{name}\"")),
            &["1 to 63 of a-z"],
        );
    }
    for name in ["admin", "main"] {
        one(
            &SERVICE.replace("\"a\"", &format!("\"{name}\"")),
            &["is what metrics call the", "choose another one"],
        );
    }
    one("[server]\nuser = \"a:b\"", &["has no `:`"]);
    one("[server]\ngroup = \"a\"", &["`group` without `user`"]);
}

#[test]
fn networks() {
    let config = valid(&format!("{SERVICE}allow = [\"10.0.0.7\", \"fd00::/8\"]"));
    let shown: Vec<String> = config.services[0]
        .allow
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(shown, ["10.0.0.7/32", "fd00::/8"]);
    in_service(
        "deny = [\"10.0.0.7/8\"]",
        &["\"10.0.0.0/8\" for the network"],
    );
    in_service("deny = [\"10.0.0.0/33\"]", &["0 to 32"]);
    in_service("deny = [\"web1\"]", &["no names here"]);
    in_service("deny = \"10.0.0.0/8\"", &["expected a list of networks"]);
}

#[test]
fn replies() {
    let text = "[[service]]\nname = \"a\"\nlisten = \"127.0.0.1:1\"\nread = \"http\"\n[service.reply]\nfile = \"x.html\"\nstatus = 404\ncontent_type = \"text/html\"\nheaders = { Zulu = \"1\", Alpha = \"2\" }\n[service.busy]\nheaders.Retry-After = \"5\"";
    let service = &valid(text).services[0];
    assert_eq!(service.reply.body, Body::File("x.html".into()));
    assert_eq!(
        (service.reply.status, service.reply.content_type.as_str()),
        (404, "text/html")
    );
    let names: Vec<&str> = service
        .reply
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["Zulu", "Alpha"], "in the order of the file");
    assert_eq!(
        (service.busy.text.as_str(), service.busy.status),
        ("busy\n", 503)
    );
    assert_eq!(
        service.busy.headers,
        [("Retry-After".to_owned(), "5".to_owned())]
    );

    in_service(
        "reply.file = \"y\"",
        &["a reply with two contents", "this", "or this"],
    );
    one(
        &SERVICE.replace("reply.text = \"x\"", "reply = {}"),
        &["a reply without content"],
    );
    in_service("reply.echo = false", &["leave the key out instead"]);
}

#[test]
fn http_keys_need_http() {
    in_service(
        "reply.status = 200",
        &["`reply.status` without read = \"http\""],
    );
    in_service("busy.headers.A = \"b\"", &["`busy.headers` without"]);
    in_service(
        "failed.content_type = \"text/html\"",
        &["`failed.content_type` without"],
    );
    let http =
        |line: &str, phrases: &[&str]| in_service(&format!("read = \"http\"\n{line}"), phrases);
    http("reply.status = 199", &["from 200 to 599"]);
    http("reply.headers.\"X Y\" = \"a\"", &["letters, digits and"]);
    http("reply.headers.A = \"a\\r\\nB: c\"", &["CR, LF or NUL"]);
    http("reply.headers.A = \"a\\u0000\"", &["CR, LF or NUL"]);
    http("reply.content_type = \"a\\n\"", &["CR, LF or NUL"]);
    http(
        "reply.headers.Content-Type = \"a\"",
        &["write content_type"],
    );
    for name in ["Content-Length", "transfer-encoding", "Date", "CONNECTION"] {
        http(
            &format!("busy.headers.{name} = \"1\""),
            &["replyd computes this header itself"],
        );
    }
}

#[test]
fn maintenance_takes_a_file_and_the_rest_has_defaults() {
    let said = |lines: &str| {
        let config = valid(&format!("{SERVICE}{lines}\n"));
        config.services[0].maintenance.clone().unwrap()
    };
    let plain = said("maintenance.file = \"/x\"");
    assert_eq!(plain.file, Path::new("/x"));
    assert_eq!(plain.notice.text, "maint\n");
    let http = said("maintenance = { file = \"/x\" }\nread = \"http\"").notice;
    assert_eq!(
        (http.status, http.content_type.as_str()),
        (503, CONTENT_TYPE)
    );
    assert_eq!(http.text, "down for maintenance, please try again later\n");
    let own =
        said("read = \"http\"\nmaintenance = { file = \"/x\", text = \"maint\\n\", status = 200 }");
    assert_eq!(
        (own.notice.text.as_str(), own.notice.status),
        ("maint\n", 200)
    );

    let wrong = "wrong value for `maintenance`";
    in_service("maintenance = {}", &[wrong, "it has no `file`"]);
    in_service("maintenance.text = \"x\"", &[wrong, "write file = "]);
    in_service("maintenance = \"/x\"", &[wrong, "a table, such as { file"]);
    in_service(
        "maintenance.file = \"\"",
        &["wrong value for `maintenance.file`", "this is no path"],
    );
    in_service(
        "maintenance = { file = \"/x\", headers = { A = \"b\" } }",
        &["`maintenance.headers` without read = \"http\""],
    );
    in_service(
        "maintenance = { fil = \"/x\" }",
        &["unknown key `maintenance.fil`", "did you mean `file`?"],
    );
}

#[test]
fn keys_that_contradict_each_other() {
    let echo =
        |line: &str| SERVICE.replace("reply.text = \"x\"", &format!("reply.echo = true\n{line}"));
    one(&echo("read = \"nothing\""), &["an echo of nothing"]);
    in_service(
        "read = \"eof\"\nhalf_close = \"cancel\"",
        &["no request could ever be answered"],
    );
    in_service(
        "read = { bytes = 4097 }",
        &[
            "`max_request_bytes` is 4096",
            "max_request_bytes = 4097 or more",
        ],
    );
    in_service(
        "linger_idle_seconds = 11",
        &["`linger_total_seconds` is 10"],
    );
    in_service("linger_total_seconds = 1", &["`linger_idle_seconds` is 2"]);
}
