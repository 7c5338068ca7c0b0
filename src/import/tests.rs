//! Who gets in, and the bounds of what is read.

use std::path::Path;

use tempfile::TempDir;

use crate::import::{Imported, SERVICES_MAX, import};

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn write(folder: &TempDir, name: &str, text: &str) {
    std::fs::write(folder.path().join(name), text).expect("written");
}

fn imported(path: &Path) -> Imported {
    import(&[path.to_owned()], "").expect("imported")
}

#[track_caller]
fn refused(path: &Path) -> String {
    import(&[path.to_owned()], "")
        .expect_err("refused")
        .to_string()
}

/// The output for a daytime service of xinetd's with these attributes.
fn daytime(defaults: &str, attributes: &str) -> String {
    let folder = folder();
    let text = format!(
        "defaults\n{{\n{defaults}\n}}\nservice daytime\n{{\ntype = INTERNAL\n\
         socket_type = stream\nwait = no\n{attributes}\n}}\n"
    );
    write(&folder, "xinetd.conf", &text);
    imported(&folder.path().join("xinetd.conf")).toml
}

/// The output for a socket unit with these lines.
fn unit(lines: &str) -> String {
    units(lines, "ExecStart=/bin/date")
}

/// The output for a socket unit and its service with these lines.
fn units(socket: &str, service: &str) -> String {
    let folder = folder();
    let socket = format!("[Socket]\nListenStream=8001\nAccept=yes\n{socket}\n");
    write(&folder, "test.socket", &socket);
    let service = format!("[Service]\nStandardInput=socket\n{service}\n");
    write(&folder, "test@.service", &service);
    imported(&folder.path().join("test.socket")).toml
}

/// The output for a line of inetd's.
fn line(line: &str) -> String {
    let folder = folder();
    write(&folder, "inetd.conf", line);
    imported(&folder.path().join("inetd.conf")).toml
}

#[track_caller]
fn says(toml: &str, line: &str) {
    assert!(
        toml.lines().any(|found| found.starts_with(line)),
        "no {line} in\n{toml}"
    );
}

#[test]
fn addresses_are_read_as_xinetd_does() {
    for (word, network) in [
        ("192.0.2.7", "192.0.2.7/32"),
        ("128.138.12.0", "128.138.12.0/24"),
        ("10.0.0.0", "10.0.0.0/8"),
        ("0.0.0.0", "0.0.0.0/0"),
        ("172.16.5.5/12", "172.16.0.0/12"),
        ("2001:db8::/46", "2001:db8::/46"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("10.5.{6}", "10.5.6.0/24"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/95", "::/95"),
    ] {
        let toml = daytime("", &format!("only_from = {word}"));
        says(&toml, &format!("allow = [\"{network}\"]"));
    }
    says(
        &daytime("", "only_from = 10.0.0.{1,2}"),
        "allow = [\"10.0.0.1/32\", \"10.0.0.2/32\"]",
    );
}

#[test]
fn who_is_named_stays_out_until_there_is_an_address() {
    let unknown = ["= host.example", "= 10.{1,2,x}", "= 10.1.{999}", "="];
    for only_from in unknown.map(|value| format!("only_from {value}")) {
        says(&daytime("", &only_from), "deny = [\"0.0.0.0/0\", \"::/0\"]");
    }
    let toml = daytime("", "only_from = .example.org 192.0.2.1");
    says(&toml, "allow = [\"192.0.2.1/32\"]");
}

#[test]
fn who_is_kept_out_by_name_holds_the_service_back() {
    let toml = daytime("", "no_access = evil.example 192.0.2.1");
    says(&toml, "#[[service]]");
    says(&toml, "#deny = [\"192.0.2.1/32\"]");
    says(
        &toml,
        "# Commented out until you have decided: evil.example in no_access",
    );
}

#[test]
fn defaults_are_added_to_and_left_as_in_xinetd() {
    let defaults = "only_from = 192.0.2.5";
    says(&daytime(defaults, ""), "allow = [\"192.0.2.5/32\"]");
    let added = "allow = [\"192.0.2.5/32\", \"192.0.2.6/32\"]";
    says(&daytime(defaults, "only_from += 192.0.2.6"), added);
    says(
        &daytime(defaults, "only_from = 192.0.2.6"),
        "allow = [\"192.0.2.6/32\"]",
    );
    // Only the last `=` counts for those let in; for those kept out, all do.
    let twice = "only_from = 192.0.2.1\nonly_from = 192.0.2.2";
    says(&daytime("", twice), "allow = [\"192.0.2.2/32\"]");
    let twice = "no_access = 192.0.2.1\nno_access = 192.0.2.2";
    says(
        &daytime("", twice),
        "deny = [\"192.0.2.1/32\", \"192.0.2.2/32\"]",
    );
    says(
        &daytime("disabled = daytime", ""),
        "# Disabled: disabled = daytime (defaults).",
    );
    says(
        &daytime("enabled = echo", ""),
        "# Disabled: enabled = echo (defaults), and not this",
    );
}

#[test]
fn what_is_taken_off_in_defaults_lets_nobody_in() {
    let defaults = "only_from = 10.0.0.0/8\nonly_from -= 10.1.0.0/16";
    let toml = daytime(defaults, "");
    says(&toml, "allow = [\"10.0.0.0/8\"]");
    says(&toml, "deny = [\"10.1.0.0/16\"]");
}

#[test]
fn a_list_that_is_too_long_is_not_cut() {
    let factors = ["1"; 256].join(",");
    let toml = daytime("", &format!("no_access = 10.0.{{{factors},2}}"));
    says(&toml, "#[[service]]");
}

#[test]
fn an_ipv4_address_is_for_ipv4_alone() {
    says(&daytime("", "bind = 0.0.0.0"), "listen = [\"0.0.0.0:13\"]");
    let both = "listen = [\"0.0.0.0:13\", \"[::]:13\"]";
    says(&daytime("", "bind = ::"), both);
    says(&daytime("", ""), both);
}

#[test]
fn a_limit_of_nobody_is_not_no_limit() {
    says(&daytime("", "instances = 0"), "#[[service]]");
    says(&unit("MaxConnections=0"), "# Commented out until you have");
}

#[test]
fn lines_of_a_unit_are_those_that_systemd_reads() {
    let toml = unit("IPAddressAllow=192.0.2.1 \\\\\nIPAddressDeny=any");
    says(&toml, "allow = [\"192.0.2.1/32\"]");
    let closed = "IPAddressAllow=192.0.2.1\nIPAddressDeny=any";
    let toml = unit(&format!("{closed}\n[Service]\nIPAddressAllow=any"));
    says(&toml, "allow = [\"192.0.2.1/32\"]");
    says(&toml, "#   IPAddressAllow=any: no line of a unit");
}

#[test]
fn a_program_has_what_it_had_without_a_word() {
    for toml in [
        unit(""),
        line("8001 stream tcp nowait nobody /bin/date date\n"),
    ] {
        says(&toml, "[service.reply.command]");
        says(&toml, "run = [\"/bin/date\"]");
        says(&toml, "exit_status = { 0-255 = 200 }");
        says(&toml, "environment = { PATH = \"/usr/local/sbin:");
        says(&toml, "max_output_bytes = 1048576");
        says(&toml, "timeout_seconds = 10");
    }
    says(&unit(""), "user = \"root\"  # no User=");
}

#[test]
fn as_many_programs_run_at_once_as_there() {
    let toml = line("8001 stream tcp nowait/12 nobody /bin/date date\n");
    says(&toml, "max_connections = 12");
    says(&toml, "concurrency = 12");
    says(&unit("MaxConnections=2000"), "concurrency = 1024");
}

#[test]
fn what_a_command_cannot_be_holds_the_service_back() {
    let held = "# Commented out until you have decided";
    says(&units("", "ExecStart=date -u"), held);
    says(&units("", "ExecStart=|/bin/date | cat"), held);
    says(&units("", "ExecStart=/bin/date\nRuntimeMaxSec=0"), held);
    says(
        &units("", "ExecStart=/bin/date\nEnvironment=REMOTE_ADDR=x"),
        held,
    );
    says(&line("8001 stream tcp nowait nobody date date\n"), held);
    let folder = folder();
    let service =
        "service x\n{\nport = 8001\nsocket_type = stream\nwait = no\nserver = /bin/date\n}\n";
    write(&folder, "conf", service);
    let toml = imported(&folder.path().join("conf")).toml;
    says(&toml, &format!("{held}: no user: xinetd itself would not"));
}

#[test]
fn a_programs_time_is_below_its_replys() {
    let toml = units(
        "",
        "ExecStart=/bin/date\nRuntimeMaxSec=30\nTimeoutStopSec=2",
    );
    says(&toml, "timeout_seconds = 30  # RuntimeMaxSec=30");
    says(&toml, "reply_timeout_seconds = 35");
    says(&toml, "kill_after_seconds = 2");
}

#[test]
fn a_value_that_the_config_refuses_holds_the_service_back() {
    let toml = daytime("", "instances = 4000000000");
    says(&toml, "#max_connections = 4000000000");
    says(
        &toml,
        "# Commented out until you have decided: the keys below",
    );
}

#[test]
fn no_text_of_a_source_becomes_a_setting() {
    let id = "id = a\"b\u{7}c\u{2028}d\nbanner = \u{1b}[2J \"\"\" '''";
    let toml = daytime("", id);
    says(&toml, "name = \"a-b-c-d\"");
    assert!(!toml.contains(['\u{7}', '\u{1b}']), "{toml}");
    crate::config::load::parse(&toml, "the import").expect("good");
}

#[test]
fn names_are_unique_and_short() {
    let folder = folder();
    let long = "x".repeat(100);
    let names = ["admin", "Two", "two", &long, &long];
    let services = names.iter().enumerate().map(|(number, name)| {
        format!(
            "service daytime\n{{\ntype = INTERNAL UNLISTED\nid = {name}\nport = {}\n\
             socket_type = stream\nwait = no\n}}\n",
            8001 + number
        )
    });
    let text = services.collect::<Vec<_>>().concat();
    write(&folder, "conf", &text);
    let toml = imported(&folder.path().join("conf")).toml;
    let short = format!("name = \"{}-2\"", "x".repeat(61));
    for name in [
        "name = \"admin-2\"",
        "name = \"two\"",
        "name = \"two-2\"",
        &short,
    ] {
        says(&toml, name);
    }
}

#[test]
fn a_file_has_at_most_a_mebibyte() {
    let folder = folder();
    let comments = "# x\n".repeat((1 << 20) / 4);
    write(&folder, "conf", &comments);
    imported(&folder.path().join("conf"));
    write(&folder, "conf", &format!("{comments}#"));
    assert!(refused(&folder.path().join("conf")).contains("more than 1 MiB"));
}

#[test]
fn includes_are_at_most_eight_deep() {
    let folder = folder();
    for depth in 0..10 {
        let include = format!("include f{}\n", depth + 1);
        write(&folder, &format!("f{depth}"), &include);
    }
    write(&folder, "f10", "# the end\n");
    assert!(refused(&folder.path().join("f1")).contains("too deep"));
    let toml = imported(&folder.path().join("f2")).toml;
    assert!(toml.contains("f9: include f10: read"), "{toml}");
}

#[test]
fn each_file_is_read_once() {
    let folder = folder();
    write(&folder, "one", "include two\n");
    write(&folder, "two", "include one\nservice x\n{\n}\n");
    let summary = imported(&folder.path().join("one")).summary;
    assert!(summary.starts_with("1 service\n"), "{summary}");
}

#[test]
fn a_folder_has_at_most_4096_files() {
    let folder = folder();
    for number in 0..=4096 {
        write(&folder, &format!("{number}~"), "");
    }
    assert!(refused(folder.path()).contains("more than 4096 files"));
}

#[test]
fn a_fifo_is_not_waited_for() {
    let folder = folder();
    let fifo = folder.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).expect("a FIFO");
    assert!(refused(&fifo).contains("this is no file"));
}

#[test]
fn bytes_that_are_no_utf_8_end_nothing() {
    let folder = folder();
    std::fs::write(folder.path().join("conf"), b"# f\xfcr\nincludedir \xff\n").expect("written");
    assert!(
        imported(&folder.path().join("conf"))
            .toml
            .contains("includedir \u{fffd}")
    );
}

#[test]
fn a_thousand_services_are_enough() {
    let line = |number: usize| {
        format!(
            "127.0.{}.{}:daytime stream tcp nowait root internal\n",
            number / 250,
            number % 250 + 1
        )
    };
    let mut text: String = (0..SERVICES_MAX).map(line).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("inetd.conf");
    std::fs::write(&path, &text).expect("written");
    let imported = import(std::slice::from_ref(&path), "daytime 13/tcp\n").expect("imported");
    assert!(imported.summary.starts_with("1000 services\n"));
    text.push_str(&line(0));
    std::fs::write(&path, &text).expect("written");
    let error = import(std::slice::from_ref(&path), "").expect_err("one too many");
    assert!(
        error.to_string().contains("more than 1000 services"),
        "{error}"
    );
}

// What fuzzing has found: tests/fuzz.

#[test]
fn what_is_said_twice_is_told_twice() {
    let toml = daytime("", "type = INTERNAL UNLISTED\nport = 8001\nflags =");
    says(&toml, "read = \"nothing\"  # type = INTERNAL UNLISTED");
    says(&toml, "# Needs no key: type = INTERNAL;");
    assert!(toml.contains("; flags =\n"), "{toml}");
    let toml = daytime("", "flags = DISABLE\ndisable = yes");
    says(
        &toml,
        "# Disabled: disable = yes, DISABLE in flags = DISABLE.",
    );
}

#[test]
fn no_span_of_time_is_too_long() {
    let toml = units(
        "",
        &format!("RuntimeMaxSec={}\nExecStart=/bin/date", u64::MAX),
    );
    says(
        &toml,
        "# Commented out until you have decided: the keys below:",
    );
}
