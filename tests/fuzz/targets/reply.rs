//! What the configuration says as a reply: any status, content type, headers and text, through
//! `server.toml`, to what a client reads. What would end a header and begin another is refused.

use replyd::config::load;
use replyd::config::reply::{Body, Reply};
use replyd::config::written::{inline, key};
use replyd::exchange::outcome::Outcome;
use replyd::exchange::{Close, Step};
use replyd::reply::http::HttpOptions;
use replyd::reply::page::Page;
use replyd::reply::template::Template;
use replyd::reply::{self, Replies};
use replyd::request::Framing;
use toml::Value;

use super::response::Response;
use super::service::{self, Driver};
use super::texts;

/// What replyd says itself.
const COMPUTED: [&str; 4] = ["connection", "content-type", "content-length", "date"];

/// A method or none, a status, a content type, two headers and a text.
pub(super) fn check(bytes: &[u8]) {
    let [method, http @ .., text] = texts::<7>(bytes);
    let is_http = !method.is_empty();
    let toml = toml(&text, is_http.then_some(&http));
    let Ok(loaded) = load::parse(&toml, "server.toml") else {
        assert!(!is_plain(&http), "refused: {toml}");
        return;
    };
    let reply = &loaded.config.services[0].reply;
    let Body::Text(said) = &reply.body else {
        panic!("another reply: {reply:?}");
    };
    assert_eq!(*said, text, "another text");
    // That they are filled in is another target's.
    if Template::is_template(said) {
        return;
    }
    let out = exchange(reply, said, is_http.then_some(method == "HEAD"));
    if is_http {
        assert_said(
            reply,
            said,
            &Response::read(&out, method == "HEAD"),
            method == "HEAD",
        );
    } else {
        assert_eq!(out, said.as_bytes());
    }
}

/// A `server.toml` of one service. Without what is empty: that is at its default.
fn toml(text: &str, http: Option<&[String; 5]>) -> String {
    let mut lines = vec![
        "[[service]]".to_owned(),
        "name = \"a\"".to_owned(),
        "listen = \"127.0.0.1:1\"".to_owned(),
        format!("reply.text = {}", quoted(text)),
    ];
    if let Some([status, content_type, name, value, other]) = http {
        lines.push("read = \"http\"".to_owned());
        let header = format!("headers.{}", key(name));
        let options = [
            ("status", status.clone()),
            ("content_type", quoted(content_type)),
            (&header, quoted(value)),
            ("headers.X-Other", quoted(other)),
        ];
        let said = options
            .iter()
            .filter(|option| !["", "\"\""].contains(&&*option.1));
        lines.extend(said.map(|(option, value)| format!("reply.{option} = {value}")));
    }
    lines.join("\n")
}

fn quoted(text: &str) -> String {
    inline(&Value::from(text))
}

/// Whether these must be taken: words of letters and a number that is a status.
fn is_plain([status, content_type, name, value, other]: &[String; 5]) -> bool {
    let is_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_status = status.len() == 3
        && status
            .parse()
            .is_ok_and(|status| (200..=599_u16).contains(&status));
    let is_name = is_word(name) && !name.is_empty() && !COMPUTED.contains(&name.as_str());
    is_status
        && is_name
        && name.as_str() != "connection"
        && [content_type, value, other]
            .iter()
            .all(|text| is_word(text))
}

/// What one client gets. `is_head`: over HTTP, and by which method.
fn exchange(reply: &Reply, text: &str, is_head: Option<bool>) -> Vec<u8> {
    let http = is_head.map(|_| HttpOptions {
        status: reply.status,
        content_type: reply.content_type.clone(),
        headers: reply.headers.clone(),
    });
    let page = Page::new(text.as_bytes(), http.as_ref());
    let framing = if http.is_some() {
        Framing::Http
    } else {
        Framing::Nothing
    };
    let options = service::service(framing, reply::Reply::Page(page));
    let Replies { is_http, .. } = options.replies;
    let mut driver = Driver::new(&options);
    if is_http {
        let method = if is_head == Some(true) { "HEAD" } else { "GET" };
        driver.receive(format!("{method} / HTTP/1.0\r\n\r\n").as_bytes());
    }
    while driver.exchange.step() == Step::Send {
        driver.send(512);
    }
    assert_eq!(driver.exchange.step(), Step::Finish(Close::Linger));
    assert_eq!(driver.exchange.outcome(), Outcome::Replied);
    driver.out
}

fn assert_said(reply: &Reply, text: &str, response: &Response<'_>, is_head: bool) {
    assert_eq!(response.status, reply.status);
    let has_content = !matches!(reply.status, 204 | 304);
    if has_content {
        assert_eq!(response.all("Content-Type"), [reply.content_type.as_str()]);
        assert_eq!(response.all("Content-Length"), [text.len().to_string()]);
    }
    if has_content && !is_head {
        assert!(response.body == text.as_bytes(), "{response:?}");
    }
    // No other header than what was said, and in that order.
    let is_computed = |name: &str| COMPUTED.contains(&name.to_ascii_lowercase().as_str());
    let further = response
        .headers
        .iter()
        .filter(|header| !is_computed(header.0));
    let further: Vec<_> = further.copied().collect();
    let said = reply
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    assert_eq!(further, said.collect::<Vec<_>>());
}
