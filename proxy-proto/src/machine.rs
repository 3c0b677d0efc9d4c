//! What the session asks of a protocol, and the choice between the three.

use crate::{
    Limits, Protocol, Reason, Refusal, Side, core::Core, frame::Framed, imap::Imap, pop::Pop,
    refusal::unusable, smtp::Smtp,
};

/// How a session ends before relay, as the client is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// The server cannot be used.
    Unavailable,
    /// The proxy is going down.
    Shutdown,
    /// The client's bytes broke the protocol.
    BadInput,
    /// One refused login or unusable command too many.
    TooManyErrors,
    /// The client did not log in for too long.
    Idle,
}

/// What became of held bytes after the login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// So many bytes were dealt with; ask again.
    Used(usize),
    /// The next frame cannot be told yet: more bytes are needed.
    More,
    /// A command has been passed whose answer must come first.
    AwaitServer,
    /// What is held may go out as it stands.
    Release,
}

/// One protocol's dialogue before relay.
pub(crate) trait Machine {
    /// Frames the next bytes of a side.
    fn look(&mut self, limits: &Limits, side: Side, bytes: &[u8]) -> Framed;

    /// Whether the next frame of a side may be taken now.
    fn accepts(&self, core: &Core, side: Side) -> bool;

    /// Takes a frame.
    fn frame(&mut self, core: &mut Core, side: Side, frame: &[u8]);

    /// `so_far` announces a literal of `len` bytes; `false`: the frame ends here.
    fn literal(
        &mut self,
        core: &mut Core,
        side: Side,
        so_far: &[u8],
        len: usize,
        synchronising: bool,
    ) -> bool;

    /// A new connection to the server: its greeting comes next.
    fn connected(&mut self, core: &mut Core);

    /// TLS is established; what was learnt before it is forgotten.
    fn tls_established(&mut self, core: &mut Core, side: Side);

    /// A bearer is there: send it as soon as the server is ready.
    fn bearer(&mut self, core: &mut Core);

    /// Answers the client's login; the attempt is over.
    fn login_failed(&mut self, core: &mut Core, refusal: &Refusal);

    /// Queues the farewell for the client.
    fn farewell(&mut self, core: &mut Core, farewell: Farewell, text: &str);

    /// The client of an open request has waited for a while.
    fn keepalive(&mut self, core: &mut Core);

    /// Whether a command of the client waits for the server.
    fn client_waits(&self) -> bool;

    /// Frames held client bytes once more, after the login.
    fn settle(&mut self, core: &mut Core, held: &[u8]) -> Settled;

    /// The server cannot be used: ends the session.
    fn unusable(&mut self, core: &mut Core, text: &str)
    where
        Self: Sized,
    {
        let reason = Reason::Protocol(Side::Server, text.into());
        unusable(self, core, text, reason);
    }

    /// The server exceeded a limit: ends the session.
    fn over_limit(&mut self, core: &mut Core, text: &str)
    where
        Self: Sized,
    {
        let reason = Reason::Limit(Side::Server, text.into());
        unusable(self, core, text, reason);
    }
}

pub(crate) fn machine(protocol: Protocol) -> Box<dyn Machine + Send> {
    match protocol {
        Protocol::Imap => Box::new(Imap::default()),
        Protocol::Pop => Box::new(Pop::default()),
        Protocol::Smtp => Box::new(Smtp::default()),
    }
}
