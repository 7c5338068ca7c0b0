//! What the admin listener answers: `/metrics`, `/-/healthy`, `/-/ready`, `/-/reload`.
//!
//! A reply like any other, so a slow scraper is as harmless as any other client.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::metrics::{self, Metrics};
use crate::reply::call::Call;
use crate::reply::http::HttpOptions;
use crate::reply::{Asked, Building, Built, BuiltReply};
use crate::request::Head;

/// Answers the admin listener's requests.
pub struct Admin {
    /// What `/metrics` renders.
    pub metrics: Arc<Metrics>,

    /// What `/-/ready` tells.
    pub is_ready: Arc<AtomicBool>,

    /// Whether `/-/reload` does anything.
    pub may_reload: AtomicBool,

    /// Reloads, and waits for what comes of it.
    pub reload: Arc<dyn Fn() -> Reloaded + Send + Sync>,
}

/// What came of a reload.
#[derive(Clone, Debug)]
pub enum Reloaded {
    /// The configuration was taken: what has changed, in lines.
    Taken(String),

    /// It was refused, and the one before it stays: why, in lines.
    Refused(String),

    /// The server ends.
    Ending,
}

impl Admin {
    fn get(&self, path: &str) -> BuiltReply {
        match path {
            "/metrics" => {
                let content_type = metrics::CONTENT_TYPE.to_owned();
                let http = HttpOptions {
                    content_type,
                    ..HttpOptions::of(200)
                };
                BuiltReply {
                    http,
                    body: self.metrics.render(),
                }
            }
            "/-/healthy" => text(200, "healthy\n"),
            "/-/ready" if self.is_ready.load(Relaxed) => text(200, "ready\n"),
            "/-/ready" => text(503, "not ready\n"),
            "/" => text(
                200,
                "replyd\n\n/metrics\n/-/healthy\n/-/ready\nPOST /-/reload\n",
            ),
            RELOAD => allowing("POST", "POST it: curl -X POST …/-/reload\n"),
            _ => text(
                404,
                "not here; there is /metrics, /-/healthy, /-/ready, and POST /-/reload\n",
            ),
        }
    }

    fn reload(&self, head: &Head<'_>) -> Building {
        // A page from elsewhere, in the browser of somebody who may: browsers say so (RFC 6454).
        if head
            .headers()
            .any(|(name, _)| name.eq_ignore_ascii_case("origin"))
        {
            return Building::Now(text(403, "not from a browser\n"));
        }
        if !self.may_reload.load(Relaxed) {
            let why = "reload is off here: send SIGHUP, or set `reload = true` in [admin]\n";
            return Building::Now(text(403, why));
        }
        let reload = Arc::clone(&self.reload);
        Building::Later(Call::new(move || match reload() {
            Reloaded::Taken(lines) => text(200, &lines),
            Reloaded::Refused(lines) => text(422, &lines),
            Reloaded::Ending => text(503, "replyd is ending\n"),
        }))
    }
}

const RELOAD: &str = "/-/reload";

impl Built for Admin {
    fn build(&self, asked: &Asked<'_>) -> Building {
        match Head::parse(asked.head) {
            Some(head) if matches!(head.method, "GET" | "HEAD") => {
                Building::Now(self.get(head.path))
            }
            Some(head) if (head.method, head.path) == ("POST", RELOAD) => self.reload(&head),
            Some(head) if head.path == RELOAD => Building::Now(allowing("POST", "only POST\n")),
            _ => Building::Now(allowing("GET, HEAD", "only GET and HEAD\n")),
        }
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

/// "Method Not Allowed", and which are. RFC 9110 section 15.5.6.
fn allowing(methods: &str, body: &str) -> BuiltReply {
    let mut reply = text(405, body);
    let header = ("Allow".to_owned(), methods.to_owned());
    reply.http.headers.push(header);
    reply
}

fn text(status: u16, body: &str) -> BuiltReply {
    BuiltReply {
        http: HttpOptions::of(status),
        body: body.as_bytes().to_vec(),
    }
}
