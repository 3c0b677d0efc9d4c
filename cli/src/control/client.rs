//! A command's end.

use super::{
    place,
    wire::{Accounts, Answer, Progress},
};
use crate::messages::{common, control as texts};
use async_io::{Async, Timer};
use futures_lite::{FutureExt, future};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
};
use oauth::consent::{Granted, Outcome};
use proxy_proto::Secret;
use serde::de::DeserializeOwned;
use smol_hyper::rt::FuturesIo;
use std::{
    io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};
use tracing::{debug, warn};

/// Longest answer in one piece, and longest line.
const LONGEST: usize = 4 << 20;
/// Longest wait for an answer in one piece; an address is redeemed meanwhile.
const PATIENCE: Duration = Duration::from_secs(180);

/// The way to the running proxy that serves a configuration.
#[derive(Clone)]
pub(crate) struct Client {
    path: PathBuf,
    folder: PathBuf,
    config_file: PathBuf,
}

impl Client {
    /// The running proxy that serves this configuration; `None` where there is none.
    pub(crate) fn find(config_file: &Path) -> Option<Client> {
        let name = place::name(config_file).ok()?;
        for folder in place::folders() {
            let client = Client {
                path: folder.join(&name),
                folder,
                config_file: config_file.to_owned(),
            };
            match client.open() {
                Ok(_) => return Some(client),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                    ) => {}
                Err(error) => {
                    warn!("{}", texts::passed_over(client.path.display(), error))
                }
            }
        }
        None
    }

    fn open(&self) -> io::Result<UnixStream> {
        let stream = UnixStream::connect(&self.path)?;
        let denied = |text: String| io::Error::new(io::ErrorKind::PermissionDenied, text);
        let owner = place::owner(&self.folder)?;
        let server = place::peer(&stream)?.unwrap_or(owner);
        if !place::may_serve(server, &self.folder, &self.config_file) {
            return Err(denied(texts::served_by_another(server)));
        }
        Ok(stream)
    }

    /// How all accounts stand.
    pub(crate) async fn accounts(&self) -> io::Result<Accounts> {
        let answer = self
            .send(Method::GET, "/accounts".into(), String::new())
            .await?;
        whole(answer).await
    }

    /// Hands over the address of the final page; waits until the token is saved.
    pub(crate) async fn answer(&self, id: u64, address: String) -> Outcome {
        let answer = async {
            let answer = self
                .send(Method::POST, format!("/waiting/{id}"), address)
                .await?;
            whole::<Answer>(answer).await
        };
        let Answer {
            error,
            other_person,
        } = answer.await.map_err(texts::proxy_does_not_answer)?;
        match error {
            Some(why) => Err(why),
            None => Ok(Granted { other_person }),
        }
    }

    /// Begins to authorise.
    pub(crate) async fn authorise(
        &self,
        account: &str,
        password: &Secret,
        fresh: bool,
    ) -> io::Result<Course> {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("account", account)
            .append_pair("fresh", if fresh { "true" } else { "false" })
            .finish();
        let path = format!("/authorise?{query}");
        let answer = self
            .send(Method::POST, path, password.expose().to_owned())
            .await?;
        if !answer.status().is_success() {
            let answer: Answer = whole(answer).await?;
            let why = answer.error.unwrap_or_default();
            return Err(io::Error::other(why));
        }
        Ok(Course {
            body: answer.into_body(),
            read: Vec::new(),
        })
    }

    async fn send(
        &self,
        method: Method,
        path: String,
        body: String,
    ) -> io::Result<Response<Incoming>> {
        let stream = Async::new(self.open()?)?;
        let (mut sender, connection) = http1::handshake(FuturesIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        smol::spawn(async move {
            if let Err(error) = connection.await {
                let text = common::connection_failed(common::THE_RUNNING_PROXY, error);
                debug!("{text}");
            }
        })
        .detach();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .body(Full::new(Bytes::from(body)))
            .map_err(io::Error::other)?;
        let answer = async { sender.send_request(request).await.map_err(io::Error::other) };
        answer.or(late()).await
    }
}

/// What `authorise` leads to, line by line.
pub(crate) struct Course {
    body: Incoming,
    read: Vec<u8>,
}

impl Course {
    /// The next line; `None` at the end.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Progress>> {
        loop {
            if let Some(end) = self.read.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(io::Error::other);
            }
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            if let Some(data) = frame.map_err(io::Error::other)?.data_ref() {
                self.read.extend_from_slice(data);
            }
            if self.read.len() > LONGEST {
                return Err(io::Error::other(texts::ENDLESS));
            }
        }
    }
}

async fn whole<T: DeserializeOwned>(answer: Response<Incoming>) -> io::Result<T> {
    let body = async {
        let body = Limited::new(answer.into_body(), LONGEST).collect().await;
        body.map_err(io::Error::other)
    };
    let body = future::or(body, late()).await?.to_bytes();
    serde_json::from_slice(&body).map_err(io::Error::other)
}

async fn late<T>() -> io::Result<T> {
    Timer::after(PATIENCE).await;
    Err(io::ErrorKind::TimedOut.into())
}
