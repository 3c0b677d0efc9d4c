//! A small HTTP server on loopback that answers by script.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

/// What becomes of one request.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Status line's end, further headers, body.
    Full(&'static str, &'static str, String),
    /// These octets and no more, then the end of the connection.
    Raw(Vec<u8>),
    /// Nothing, until the client gives up.
    Silence,
}

impl Reply {
    pub(crate) fn json(body: &str) -> Reply {
        Reply::Full(
            "200 OK",
            "Content-Type: application/json\r\n",
            body.to_owned(),
        )
    }

    pub(crate) fn status(status: &'static str, body: &str) -> Reply {
        Reply::Full(status, "", body.to_owned())
    }
}

/// A request as it came over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// `POST /token HTTP/1.1`.
    pub(crate) line: String,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.body.as_bytes())
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.into_owned())
    }
}

pub(crate) struct Server {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    script: Mutex<VecDeque<Reply>>,
    seen: Mutex<Vec<Seen>>,
}

impl Server {
    /// Answers with these in turn, and then with 410.
    pub(crate) fn new(script: impl IntoIterator<Item = Reply>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let shared = Arc::new(Shared {
            script: Mutex::new(script.into_iter().collect()),
            ..Shared::default()
        });
        let serving = shared.clone();
        // ends with the test's process
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = serving.clone();
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Server { url, shared }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) {
    let Some(seen) = read(&mut stream) else {
        return;
    };
    lock(&shared.seen).push(seen);
    let reply = lock(&shared.script).pop_front();
    let octets = match reply.unwrap_or_else(|| Reply::status("410 Gone", "")) {
        Reply::Raw(octets) => octets,
        Reply::Full(status, headers, body) => format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .into_bytes(),
        Reply::Silence => {
            // until the other side closes
            let _ = stream.read(&mut [0; 16]);
            return;
        }
    };
    // the client may have left in the middle of a long answer
    let _ = stream.write_all(&octets);
}

fn read(stream: &mut TcpStream) -> Option<Seen> {
    let mut octets = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&octets).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .and_then(|(_, length)| length.trim().parse().ok())
                .unwrap_or(0);
            if body.len() >= length {
                return Some(Seen {
                    line: head.lines().next().unwrap_or_default().to_owned(),
                    body: body.to_owned(),
                });
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(n) => octets.extend_from_slice(&buffer[..n]),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
