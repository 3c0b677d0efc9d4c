//! The running proxy's end.

use super::{
    Unreachable, place,
    wire::{Account, Accounts, Answer, Progress, Waits},
};
use crate::{
    consent::Waiting,
    messages::{common, consent, control as texts},
};
use async_io::{Async, Timer};
use futures_lite::{FutureExt, future, stream};
use http_body_util::{BodyExt, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Frame, Incoming},
    header,
    server::conn::http1,
    service::service_fn,
};
use oauth::authenticator::{Authenticator, Denial};
use proxy_proto::Secret;
use serde::Serialize;
use smol::lock::Semaphore;
use smol_hyper::rt::{FuturesIo, SmolTimer};
use std::{
    collections::HashSet,
    convert::Infallible,
    fs, io,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tracing::{debug, warn};
use zeroize::Zeroizing;

/// Connections served at once; further ones are closed.
const CONNECTIONS: usize = 32;
/// Longest wait for a request's head.
const HEAD: Duration = Duration::from_secs(10);
/// Longest body of a request: a password, or an address.
const BODY: usize = 64 * 1024;

/// The channel while it is open; closed, and its socket removed, when dropped.
pub struct Control {
    path: PathBuf,
    /// Device and inode: a later proxy's socket of the same name is not ours to remove.
    file: Option<(u64, u64)>,
    _serving: smol::Task<Infallible>,
}

impl Control {
    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if self.file.is_some() && identity(&self.path) == self.file {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[derive(Clone)]
struct State {
    authenticator: Arc<Authenticator>,
    waiting: Waiting,
}

/// Lets other processes of this user reach the proxy that serves this configuration.
///
/// # Errors
///
/// Where no folder can hold the socket, or another proxy serves the same configuration.
pub fn serve(
    config_file: &Path,
    authenticator: Arc<Authenticator>,
    waiting: Waiting,
) -> Result<Control, Unreachable> {
    let unreachable = |why: String| Unreachable(texts::commands_cannot_reach(why));
    let name = place::name(config_file)
        .map_err(|error| unreachable(format!("{}: {error}", config_file.display())))?;
    let mut problems = Vec::new();
    for folder in place::folders() {
        match place::prepare(&folder).and_then(|()| listen(&folder.join(&name))) {
            Ok(listener) => {
                let path = folder.join(&name);
                let file = identity(&path);
                let state = State {
                    authenticator,
                    waiting,
                };
                debug!("{}", texts::commands_reach(path.display()));
                return Ok(Control {
                    file,
                    path,
                    _serving: smol::spawn(accept(listener, state)),
                });
            }
            Err(error) => problems.push(format!("{}: {error}", folder.display())),
        }
    }
    Err(unreachable(problems.join("; ")))
}

fn listen(path: &Path) -> io::Result<Async<UnixListener>> {
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            texts::ANOTHER_PROXY,
        ));
    }
    // Left behind by one that was killed.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Async::new(listener)
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

async fn accept(listener: Async<UnixListener>, state: State) -> Infallible {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                match place::peer(&stream) {
                    Ok(Some(uid)) if !place::may_ask(uid) => {
                        warn!("{}", texts::user_refused(uid));
                        continue;
                    }
                    Ok(_) => {}
                    Err(error) => {
                        warn!("{}", texts::user_unknown(error));
                        continue;
                    }
                }
                let Some(permit) = connections.try_acquire_arc() else {
                    let text = common::too_many_connections(common::THE_CONTROL_CHANNEL);
                    debug!("{text}");
                    continue;
                };
                let state = state.clone();
                smol::spawn(async move {
                    connection(stream, state).await;
                    drop(permit);
                })
                .detach();
            }
            Err(error) => {
                warn!("{}", texts::control_cannot_accept(error));
                Timer::after(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn connection(stream: Async<UnixStream>, state: State) {
    let answer = service_fn(|request| {
        let state = state.clone();
        async move { Ok::<_, Infallible>(respond(&state, request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(SmolTimer::new())
        .header_read_timeout(HEAD)
        .keep_alive(false);
    let served = http.serve_connection(FuturesIo::new(stream), answer).await;
    if let Err(error) = served {
        let text = common::connection_failed(common::THE_CONTROL_CHANNEL, error);
        debug!("{text}");
    }
}

type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;

async fn respond(state: &State, request: Request<Incoming>) -> Reply {
    let (head, body) = request.into_parts();
    let body = async {
        let body = Limited::new(body, BODY).collect().await.ok()?.to_bytes();
        let text = std::str::from_utf8(&body).ok()?;
        Some(Zeroizing::new(text.to_owned()))
    };
    let late = async {
        Timer::after(HEAD).await;
        None
    };
    let Some(body) = body.or(late).await else {
        return refuse(StatusCode::BAD_REQUEST, texts::NO_BODY);
    };
    let path = head.uri.path();
    let id = path
        .strip_prefix("/waiting/")
        .and_then(|id| id.parse::<u64>().ok());
    match (&head.method, path, id) {
        (&Method::GET, "/accounts", _) => {
            let overviews = state.authenticator.accounts().await;
            json(&Accounts {
                running: true,
                accounts: overviews.iter().map(Account::from).collect(),
            })
        }
        (&Method::GET, "/waiting", _) => {
            let list = state.waiting.list();
            json(&list.iter().map(Waits::from).collect::<Vec<_>>())
        }
        (&Method::POST, _, Some(id)) => match state.waiting.answer(id, body.trim()).await {
            Ok(granted) => json(&Answer {
                error: None,
                other_person: granted.other_person,
            }),
            Err(why) => refuse(StatusCode::CONFLICT, &why),
        },
        (&Method::DELETE, _, Some(id)) => match state.waiting.dismiss(id) {
            true => json(&Answer::default()),
            false => refuse(StatusCode::NOT_FOUND, consent::NO_LONGER_WAITING),
        },
        (&Method::POST, "/authorise", _) => {
            let query = head.uri.query().unwrap_or_default();
            let (account, fresh) = (parameter(query, "account"), parameter(query, "fresh"));
            let Some(account) = account else {
                return refuse(StatusCode::BAD_REQUEST, texts::NO_ACCOUNT_NAMED);
            };
            let fresh = fresh.as_deref() == Some("true");
            authorise(state, account, Secret::new(body.as_str()), fresh)
        }
        _ => refuse(StatusCode::NOT_FOUND, texts::NO_SUCH_REQUEST),
    }
}

/// Lines until it has ended. Whoever leaves withdraws the login; what it has begun goes on.
fn authorise(state: &State, account: String, password: Secret, fresh: bool) -> Reply {
    struct Course {
        result: future::Boxed<Progress>,
        waiting: Waiting,
        account: String,
        told: HashSet<u64>,
        ended: bool,
        _attendance: crate::consent::Attendance,
    }
    let authenticator = state.authenticator.clone();
    let name = account.clone();
    let result = async move {
        match authenticator.authorise(&name, password, fresh).await {
            Ok(authorised) => Progress::from(&authorised),
            Err(Denial::Denied(text)) => Progress::Refused(text),
            Err(Denial::Temporary(text)) => Progress::Trouble(text),
        }
    };
    let course = Course {
        result: Box::pin(result),
        waiting: state.waiting.clone(),
        account: account.to_lowercase(),
        told: HashSet::new(),
        ended: false,
        // Its consent can be answered through this channel.
        _attendance: state.waiting.attend(),
    };
    let lines = stream::unfold(course, |mut course| async move {
        if course.ended {
            return None;
        }
        loop {
            let changed = course.waiting.changed();
            let list = course.waiting.list();
            let new = list.iter().find(|consent| {
                consent.account.to_lowercase() == course.account
                    && !course.told.contains(&consent.id)
            });
            if let Some(consent) = new {
                course.told.insert(consent.id);
                return Some((line(&Progress::Waiting(consent.into())), course));
            }
            let result = async { Some((&mut course.result).await) };
            let changed = async {
                changed.await;
                None
            };
            if let Some(progress) = result.or(changed).await {
                course.ended = true;
                return Some((line(&progress), course));
            }
        }
    });
    let mut reply = Response::new(BodyExt::boxed_unsync(StreamBody::new(lines)));
    reply.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/x-ndjson"),
    );
    reply
}

fn line(progress: &Progress) -> Result<Frame<Bytes>, Infallible> {
    let mut text = serde_json::to_string(progress).unwrap_or_default();
    text.push('\n');
    Ok(Frame::data(Bytes::from(text)))
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let mut values = form_urlencoded::parse(query.as_bytes());
    values
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

fn json(value: &impl Serialize) -> Reply {
    reply(StatusCode::OK, value)
}

fn refuse(status: StatusCode, why: &str) -> Reply {
    let answer = Answer {
        error: Some(why.to_owned()),
        other_person: None,
    };
    reply(status, &answer)
}

fn reply(status: StatusCode, value: &impl Serialize) -> Reply {
    let text = serde_json::to_string(value).unwrap_or_default();
    let mut reply = Response::new(Full::new(Bytes::from(text)).boxed_unsync());
    *reply.status_mut() = status;
    reply.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    reply
}
