//! A raw TCP server on tokio and an HTTP server on hyper, as their documentation writes them: `asynchronous tokio|hyper ADDR REPLY`.

use std::convert::Infallible;
use std::io;
use std::process::ExitCode;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;

const BACKLOG: u32 = 4096;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, addr, reply] = &arguments[..] else {
        eprintln!("usage: asynchronous tokio|hyper ADDR REPLY");
        return ExitCode::from(64);
    };
    // It lives as long as the process, and so every connection can borrow it.
    let reply: &'static [u8] = reply.clone().into_bytes().leak();
    let served = Runtime::new().and_then(|runtime| match kind.as_str() {
        "tokio" => runtime.block_on(serve_raw(addr, reply)),
        "hyper" => runtime.block_on(serve_http(addr, reply)),
        _ => Err(io::Error::other("neither tokio nor hyper")),
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("asynchronous: {error}");
            ExitCode::FAILURE
        }
    }
}

/// As `TcpListener::bind`, but with the backlog that the other servers have.
fn listener(addr: &str) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr.parse().map_err(io::Error::other)?)?;
    socket.listen(BACKLOG)
}

async fn serve_raw(addr: &str, reply: &'static [u8]) -> io::Result<()> {
    let listener = listener(addr)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            // A client that is gone is its own affair.
            let _done = answer(stream, reply).await;
        });
    }
}

/// A line in, the reply out.
async fn answer(mut stream: TcpStream, reply: &[u8]) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut request = String::new();
    BufReader::new(reader).read_line(&mut request).await?;
    writer.write_all(reply).await?;
    writer.shutdown().await
}

async fn serve_http(addr: &str, reply: &'static [u8]) -> io::Result<()> {
    let listener = listener(addr)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let service = service_fn(move |_: Request<Incoming>| async move {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(reply))))
            });
            let mut connection = http1::Builder::new();
            connection.keep_alive(false);
            // A client that is gone is its own affair.
            let _done = connection
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
